"""An app that calls the model as it would call any other."""

import fal_client

lines = []
handle = fal_client.submit("my-team/painter", arguments={"prompt": "a cat"})
for event in handle.iter_events(with_logs=True):
    lines = [line["message"] for line in getattr(event, "logs", None) or []] or lines
print(lines)
result = handle.get()
print(result["prompt"], result["image"]["url"].rsplit("_", 1)[1])
try:
    fal_client.run("my-team/painter", arguments={})
except fal_client.FalClientHTTPError as error:
    print(error.status_code, error.message)
