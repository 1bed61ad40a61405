"""A model: the input on stdin, lines on stderr, files in a folder, the output on stdout."""

import json
import os
import sys

given = json.load(sys.stdin)
if "prompt" not in given:
    missing = {"loc": ["body", "prompt"], "msg": "Field required", "type": "missing"}
    json.dump({"detail": [missing]}, sys.stdout)
    sys.exit(1)
print(f"painting {given['prompt']}", file=sys.stderr)
with open(os.path.join(os.environ["FAL_OUTPUT_DIR"], "picture.svg"), "w") as file:
    file.write('<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>')
json.dump({"image": {"url": "{{file:picture.svg}}"}, "prompt": given["prompt"]}, sys.stdout)
