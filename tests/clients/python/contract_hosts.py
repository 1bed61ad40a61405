"""Calls a mock around the proxy, by the variables for hosts that the official client knows: the host of fal is the
first part of the path, and the client insists on TLS.

Argument: JSON with the address of a mock, `fast`, which does jobs in a moment. `FAL_RUN_HOST` and `FAL_QUEUE_RUN_HOST`
name the same one.
"""

import fal_client
from fal_client import SyncClient

from checks import *


@check("run", "fast", "SyncClient.run")
def _():
    output = fal_client.run(FLUX, {**INPUT, "seed": 7})
    assert output["images"][0]["url"].startswith("https://127.0.0.1:"), output
    return size_of(output["images"][0])


@check("subscribe", "fast", "SyncClient.subscribe", "SyncClient.result")
def _():
    updates, enqueued = [], []
    output = fal_client.subscribe(FLUX, INPUT, interval=0.02, on_enqueue=enqueued.append, on_queue_update=updates.append)
    assert_forward(updates)
    # What the client builds itself leads there as well as what it was given.
    assert SyncClient().result(FLUX, enqueued[0]) == output
    return size_of(output["images"][0])


@check("stream", "fast", "SyncClient.stream")
def _():
    assert len(list(fal_client.stream("fal-ai/any-llm", INPUT))) > 2


@check("realtime", "fast", "SyncClient.realtime")
def _():
    # A token would be asked for at a host that no variable names.
    with SyncClient().realtime("acme/live", use_jwt=False) as connection:
        connection.send({**INPUT, "request_id": "1"})
        assert connection.recv()["request_id"] == "1"


run_checks(door="hosts")
