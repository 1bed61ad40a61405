"""Prints what does not differ from run to run: the same against a mock that records and against one that replays."""

import json
import urllib.request

import fal_client

FLUX = "fal-ai/flux/dev"


def size(url):
    with urllib.request.urlopen(url) as answer:
        return len(answer.read())


picture = fal_client.upload(b"\x07" * 100, "image/png", "a.png")
updates = []
output = fal_client.subscribe(
    FLUX,
    {"prompt": "a cat", "seed": 3, "image_url": picture},
    with_logs=True,
    on_queue_update=updates.append,
)
assert isinstance(updates[-1], fal_client.Completed), updates
print(json.dumps([output["prompt"], output["seed"], len(output["images"])]))
print(size(output["images"][0]["url"]))
print(json.dumps(fal_client.run(FLUX, {"prompt": "two", "num_images": 2})["seed"]))
print(json.dumps(list(fal_client.stream("fal-ai/any-llm", {"prompt": "why"}))[-1]))
