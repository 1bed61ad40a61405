import asyncio

import fal_client


async def main():
    handler = await fal_client.submit_async("fal-ai/flux/dev", arguments={"prompt": "a cat"})
    async for event in handler.iter_events(with_logs=True, interval=0.05):
        print(type(event).__name__)
    result = await handler.get()
    print(result["images"][0]["url"])


asyncio.run(main())
