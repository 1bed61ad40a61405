"""The same as `contract_sync.py` with the asynchronous half of the client."""

import asyncio
import json
import os
import tempfile

import fal_client
import msgpack
from fal_client import AsyncClient, Completed, FalClientHTTPError, FalClientTimeoutError
from fal_client.client import RealtimeError
from PIL import Image

from checks import *


async def refused(call, status):
    try:
        await call
    except FalClientHTTPError as error:
        assert error.status_code == status, f"{error.status_code} {error}"
        assert error.response_headers.get("x-fal-request-id"), error.response_headers
        return error
    raise AssertionError(f"{status} was expected")


@check("run", "fast", "AsyncClient.run")
async def _():
    output = await AsyncClient().run(FLUX, {**INPUT, "seed": 7})
    assert output["seed"] == 7
    return size_of(output["images"][0])


@check("run-with-path", "instant", "AsyncClient.run")
async def _():
    output = await AsyncClient().run("fal-ai/flux", INPUT, path="/schnell", timeout=20, hint="a")
    return size_of(output["images"][0])


@check("queue-steps", "fast", "AsyncClient.submit", "AsyncRequestHandle.status", "AsyncRequestHandle.get",
       "AsyncClient.status", "AsyncClient.result")
async def _():
    client = AsyncClient()
    handle = await client.submit(FLUX, INPUT)
    assert handle.status_url.startswith("https://queue.fal.run/fal-ai/flux/requests/"), handle.status_url
    first = await handle.status()
    assert names([first])[0] in ("Queued", "InProgress"), first
    output = await handle.get(interval=0.02)
    last = await client.status(FLUX, handle.request_id, with_logs=True)
    assert isinstance(last, Completed) and last.error is None
    assert len(last.logs) > 1 and last.metrics["inference_time"] > 0
    assert await client.result(FLUX, handle.request_id) == output
    return size_of(output["images"][0])


@check("iter-events", "fast", "AsyncRequestHandle.iter_events")
async def _():
    handle = await AsyncClient().submit(FLUX, INPUT)
    events = [event async for event in handle.iter_events(with_logs=True, interval=0.02)]
    assert_forward(events)
    assert len(events[-1].logs) > 1
    return names(events)


@check("handle-from-its-id", "fast", "AsyncClient.get_handle", "AsyncRequestHandle.from_request_id")
async def _():
    client = AsyncClient()
    request_id = (await client.submit(FLUX, INPUT)).request_id
    # Another process would have no more than this.
    handle = await client.get_handle(FLUX, request_id)
    return size_of((await handle.get(interval=0.02))["images"][0])


@check("subscribe-with-callbacks", "fast", "AsyncClient.subscribe")
async def _():
    enqueued, updates = [], []
    client = AsyncClient()
    output = await client.subscribe(FLUX, INPUT, with_logs=True, interval=0.02, on_enqueue=enqueued.append,
                                    on_queue_update=updates.append)
    assert len(enqueued) == 1
    assert_forward(updates)
    assert await client.result(FLUX, enqueued[0]) == output
    return size_of(output["images"][0])


@check("many-at-once", "fast", "AsyncClient.subscribe")
async def _():
    client = AsyncClient()
    prompts = [{"prompt": f"cat {number}", "seed": number} for number in range(20)]
    outputs = await asyncio.gather(*(client.subscribe(FLUX, prompt, interval=0.05) for prompt in prompts))
    assert [output["seed"] for output in outputs] == list(range(20))


@check("validation-error-of-run", "fast", "AsyncClient.run")
async def _():
    assert_invalid(await refused(AsyncClient().run("fal-ai/controlnet-ip-adapter", {"seed": "x"}), 422))


@check("validation-error-of-job", "fast", "AsyncClient.subscribe")
async def _():
    subscribed = AsyncClient().subscribe("fal-ai/controlnet-ip-adapter", {"seed": "x"}, interval=0.02)
    assert_invalid(await refused(subscribed, 422))


@check("failed-job", "failing", "AsyncClient.subscribe")
async def _():
    updates = []
    subscribed = AsyncClient().subscribe(FLUX, INPUT, interval=0.02, on_queue_update=updates.append)
    error = await refused(subscribed, 500)
    assert error.error_type == updates[-1].error_type == "runner_server_error", updates


@check("errors-by-status", "failing", "AsyncClient.run")
async def _():
    for status in (400, 403, 404, 500, 503):
        error = await refused(AsyncClient().run(FLUX, INPUT), status)
        assert (error.message, error.error_type) == (f"planned {status}", "bad_request"), error


@check("wrong-key", "fast", "AsyncClient.run", "AsyncClient.submit")
async def _():
    for name in ("run", "submit"):
        try:
            await getattr(AsyncClient(key="no-colon"), name)(FLUX, INPUT)
        except FalClientHTTPError as error:
            assert error.status_code == 401, error
        else:
            raise AssertionError("a wrong key was taken")


@check("start-timeout", "slow", "AsyncClient.submit", "AsyncClient.cancel")
async def _():
    # The runner of this mock is taken by the first job for ever, so the second cannot start in time.
    client = AsyncClient()
    first = await client.submit("acme/single", INPUT)
    handle = await client.submit("acme/single", INPUT, start_timeout=1.1)
    error = await refused(handle.get(interval=0.05), 504)
    assert error.response_headers["x-fal-request-timeout-type"] == "user"
    await client.cancel("acme/single", first.request_id)


@check("client-timeout-cancels", "slow", "AsyncClient.subscribe")
async def _():
    client = AsyncClient()
    # So that the connection is there: what ends while it submits has no id to cancel by.
    await (await client.submit("acme/other", INPUT)).cancel()
    try:
        await client.subscribe("acme/late", INPUT, client_timeout=2.5, interval=0.05)
    except FalClientTimeoutError as error:
        assert error.request_id, "it does not say which job is left"
        return
    raise AssertionError("it came back")


@check("cancel-in-queue", "slow", "AsyncRequestHandle.cancel")
async def _():
    client = AsyncClient()
    first, second = [await client.submit("acme/queued", INPUT) for _ in range(2)]
    await second.cancel()
    assert isinstance(await second.status(), Completed)
    await first.cancel()


@check("cancel-of-running-job", "slow", "AsyncRequestHandle.cancel", "AsyncRequestHandle.iter_events")
async def _():
    handle = await AsyncClient().submit("acme/running", INPUT)
    seen = []
    async for event in handle.iter_events(interval=0.02):
        if names([event]) == ["InProgress"] and "InProgress" not in names(seen):
            await handle.cancel()
        seen.append(event)
    assert "InProgress" in names(seen), seen


@check("webhook-is-delivered-and-verifies", "fast", "AsyncClient.submit")
async def _():
    with receiver() as (url, wait):
        handle = await AsyncClient().submit(FLUX, INPUT, webhook_url=url)
        delivery = await asyncio.to_thread(wait)
        assert_signed(delivery, handle.request_id, await handle.get(interval=0.02))


@check("priority-and-hint", "fast", "AsyncClient.submit")
async def _():
    await AsyncClient().submit("acme/low", INPUT, priority="low", hint="lora-1", path="/fast")


@check("stream-of-text", "fast", "AsyncClient.stream")
async def _():
    items = [item async for item in AsyncClient().stream("fal-ai/any-llm", INPUT)]
    assert len(items) > 2, items
    assert [item["partial"] for item in items].index(False) == len(items) - 1
    for before, after in zip(items, items[1:]):
        assert after["output"].startswith(before["output"])
    return items[-1]["output"]


@check("stream-of-pictures", "fast", "AsyncClient.stream")
async def _():
    items = [item async for item in AsyncClient().stream(FLUX, {**INPUT, "seed": 7})]
    assert items[-1]["seed"] == 7
    assert len({item["images"][0]["url"] for item in items}) == len(items) > 1
    for item in items:
        size_of(item["images"][0])


@check("cut-stream", "failing", "AsyncClient.stream")
async def _():
    # Its mock cuts the first stream in the middle.
    seen = 0
    try:
        async for _ in AsyncClient().stream(FLUX, INPUT):
            seen += 1
    except Exception as error:
        return f"{seen} items, then {error}"
    raise AssertionError("a cut stream looked whole")


@check("upload", "fast", "AsyncClient.upload")
async def _():
    content = bytes(number * 7 % 251 for number in range(100_000))
    url = await AsyncClient().upload(content, "image/png", "cat.png")
    assert_file(url, "image/png", content)
    assert_file(await AsyncClient().upload("text", "text/plain"), "text/plain", b"text")
    return url


@check("upload-with-lifecycle", "fast", "AsyncClient.upload")
async def _():
    lifecycle = fal_client.StorageSettings(expires_in="1h", initial_acl=fal_client.StorageACL(default="forbid"))
    url = await AsyncClient().upload(b"x", "text/plain", lifecycle=lifecycle)
    assert status_of(url) == 403, "a forbidden file was given"


@check("upload-file", "fast", "AsyncClient.upload_file")
async def _():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "notes.txt")
        with open(path, "wb") as file:
            file.write(b"notes")
        url = await AsyncClient().upload_file(path)
    assert url.endswith("notes.txt"), url
    assert_file(url, "text/plain", b"notes")


@check("upload-image", "fast", "AsyncClient.upload_image")
async def _():
    image = Image.new("RGB", (20, 10), "red")
    url = await AsyncClient().upload_image(image, format="png")
    copy = Image.open(picture_at(url))
    assert (copy.size, copy.format) == ((20, 10), "PNG"), copy


@check("upload-of-more-than-100-mb", "fast", "AsyncClient.upload", "AsyncClient.upload_file")
async def _():
    content = long_content()
    assert len(content) > 100 << 20
    client = AsyncClient()
    assert_file(await client.upload(content, "video/mp4", "long.mp4"), "video/mp4", content)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "long.mp4")
        with open(path, "wb") as file:
            file.write(content)
        assert_file(await client.upload_file(path), "video/mp4", content)


@check("upload-to-the-fallback-repository", "failing", "AsyncClient.upload")
async def _():
    # Its mock refuses the first upload to the CDN.
    url = await AsyncClient().upload(b"fallback", "text/plain", "a.txt")
    assert_file(url, "text/plain", b"fallback")
    chosen = await AsyncClient().upload(b"chosen", "text/plain", "b.txt", repository="fal")
    assert_file(chosen, "text/plain", b"chosen")
    return url


@check("realtime", "fast", "AsyncClient.realtime", "AsyncRealtimeConnection.send", "AsyncRealtimeConnection.recv",
       "AsyncRealtimeConnection.close")
async def _():
    for use_jwt in (True, False):
        async with AsyncClient().realtime("acme/live", use_jwt=use_jwt, max_buffering=9) as connection:
            for number in range(3):
                await connection.send({**INPUT, "request_id": str(number)})
                answer = await connection.recv()
                assert answer["request_id"] == str(number), answer
                assert answer["images"], answer
            await connection.close()
            assert await connection.recv() is None


@check("realtime-with-json", "fast", "AsyncClient.realtime")
async def _():
    async with AsyncClient().realtime("acme/live", encode_message=json.dumps) as connection:
        await connection.send({**INPUT, "request_id": "1"})
        assert (await connection.recv())["request_id"] == "1"


@check("realtime-session-that-ends", "fast", "AsyncClient.realtime")
async def _():
    outputs = 0
    async with AsyncClient().realtime("acme/captions-server-streaming") as connection:
        await connection.send(INPUT)
        try:
            while await connection.recv() is not None:
                outputs += 1
        except RealtimeError as error:
            assert error.error == "TIMEOUT", error
    assert outputs > 1, outputs


@check("ws-connect", "fast", "AsyncClient.ws_connect")
async def _():
    async with AsyncClient().ws_connect("acme/live", path="realtime") as socket:
        await socket.send(msgpack.packb({**INPUT, "request_id": "raw"}))
        assert msgpack.unpackb(await socket.recv())["request_id"] == "raw"


run_checks([AsyncClient, fal_client.AsyncRequestHandle, fal_client.AsyncRealtimeConnection])
