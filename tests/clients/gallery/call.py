"""One call with the official client; says in one line what reached the caller."""

import fal_client

try:
    result = fal_client.subscribe("fal-ai/flux/dev", arguments={"prompt": "a forbidden cat"})
    print("the output" if result["images"] else "an output without pictures")
except fal_client.client.FalClientHTTPError as error:
    print(f"an error, {error.status_code}")
except Exception as error:
    print(f"an error, {type(error).__name__}")
