import fal_client

handler = fal_client.submit("fal-ai/flux/dev", arguments={"prompt": "a cat"})
request_id = handler.request_id

for event in handler.iter_events(with_logs=True, interval=0.05):
    print(type(event).__name__)

status = fal_client.status("fal-ai/flux/dev", request_id, with_logs=True)
print("status:", type(status).__name__)
result = fal_client.result("fal-ai/flux/dev", request_id)
print(result["images"][0]["url"])
