import fal_client

handler = fal_client.submit("fal-ai/flux/dev", arguments={"prompt": "a cat"})
fal_client.cancel("fal-ai/flux/dev", handler.request_id)
print("cancelled:", handler.request_id)
