"""An application as somebody would write it: it knows nothing of tests."""

import fal_client

# Made when the module is imported, as many applications do it.
client = fal_client.SyncClient()


def draw(prompt):
    """The address of a picture."""
    return fal_client.subscribe("fal-ai/flux/dev", arguments={"prompt": prompt})["images"][0]["url"]


def draw_by_client(prompt):
    return client.subscribe("fal-ai/flux/dev", arguments={"prompt": prompt})["images"][0]["url"]


async def draw_async(prompt):
    result = await fal_client.subscribe_async("fal-ai/flux/dev", arguments={"prompt": prompt})
    return result["images"][0]["url"]


def start_training(archive):
    """The id of a job that takes hours."""
    handle = fal_client.submit("acme/lora-trainer", arguments={"images_data_url": archive})
    return handle.request_id


def draw_again_if_it_fails(prompt):
    """Wrong on purpose: it does not ask whether the first one is paid for."""
    for _ in range(2):
        handle = fal_client.submit("fal-ai/flux/dev", arguments={"prompt": prompt})
    return handle.get()
