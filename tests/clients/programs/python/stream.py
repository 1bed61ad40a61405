import fal_client

stream = fal_client.stream("fal-ai/any-llm", arguments={"prompt": "Tell me about cats."})
for event in stream:
    print(event["output"])
