import fal_client

result = fal_client.run("fal-ai/flux/schnell", arguments={"prompt": "a cat"})
print(result["images"][0]["url"])
