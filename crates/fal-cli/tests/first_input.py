# What somebody writes first, with an input that is not right.
import json
import sys

import fal_client

result = fal_client.subscribe(sys.argv[1], arguments=json.loads(sys.argv[2]))
print(len(result["images"]), "image(s)")
