"""The application of `compose.yaml`. It is written for fal and knows nothing of the mock."""

import fal_client

result = fal_client.subscribe("fal-ai/flux/dev", arguments={"prompt": "a cat"})
print(result["images"][0]["url"])
