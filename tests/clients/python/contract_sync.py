"""Calls mocks with the official client as an application would, and prints one JSON line per check.

Argument: JSON with the addresses of four mocks. `fast` does jobs in a moment, `instant` while they are submitted,
`slow` never and one at a time; `failing` lets them fail. The environment is that of `fal-mock exec`.
"""

import json
import os
import tempfile

import fal_client
import msgpack
from fal_client import Completed, FalClientHTTPError, FalClientTimeoutError, SyncClient
from fal_client.client import RealtimeError
from PIL import Image

from checks import *


def refused(call, status):
    try:
        call()
    except FalClientHTTPError as error:
        assert error.status_code == status, f"{error.status_code} {error}"
        assert error.response_headers.get("x-fal-request-id"), error.response_headers
        return error
    raise AssertionError(f"{status} was expected")


@check("run", "fast", "SyncClient.run")
def _():
    output = fal_client.run(FLUX, {**INPUT, "seed": 7})
    assert output["seed"] == 7
    return size_of(output["images"][0])


@check("run-with-path", "instant", "SyncClient.run")
def _():
    output = SyncClient().run("fal-ai/flux", INPUT, path="/schnell", timeout=20, hint="a", headers={"x-trace": "1"})
    return size_of(output["images"][0])


@check("queue-steps", "fast", "SyncClient.submit", "SyncRequestHandle.status", "SyncRequestHandle.get",
       "SyncClient.status", "SyncClient.result")
def _():
    client = SyncClient()
    handle = client.submit(FLUX, INPUT)
    assert handle.status_url.startswith("https://queue.fal.run/fal-ai/flux/requests/"), handle.status_url
    first = handle.status()
    assert names([first])[0] in ("Queued", "InProgress"), first
    output = handle.get(interval=0.02)
    last = client.status(FLUX, handle.request_id, with_logs=True)
    assert isinstance(last, Completed) and last.error is None
    assert len(last.logs) > 1 and last.metrics["inference_time"] > 0
    assert client.result(FLUX, handle.request_id) == output
    return size_of(output["images"][0])


@check("iter-events", "fast", "SyncRequestHandle.iter_events")
def _():
    handle = SyncClient().submit(FLUX, INPUT)
    events = list(handle.iter_events(with_logs=True, interval=0.02))
    assert_forward(events)
    assert len(events[-1].logs) > 1
    return names(events)


@check("handle-from-its-id", "fast", "SyncClient.get_handle", "SyncRequestHandle.from_request_id")
def _():
    client = SyncClient()
    request_id = client.submit(FLUX, INPUT).request_id
    # Another process would have no more than this.
    handle = client.get_handle(FLUX, request_id)
    return size_of(handle.get(interval=0.02)["images"][0])


@check("subscribe-with-callbacks", "fast", "SyncClient.subscribe")
def _():
    enqueued, updates = [], []
    output = fal_client.subscribe(FLUX, INPUT, with_logs=True, interval=0.02, on_enqueue=enqueued.append,
                                  on_queue_update=updates.append)
    assert len(enqueued) == 1
    assert_forward(updates)
    assert fal_client.result(FLUX, enqueued[0]) == output
    return size_of(output["images"][0])


@check("subscribe-to-a-job-that-is-done-already", "instant", "SyncClient.subscribe")
def _():
    updates = []
    SyncClient().subscribe(FLUX, INPUT, on_queue_update=updates.append)
    assert names(updates) == ["Completed"], updates


@check("validation-error-of-run", "fast", "SyncClient.run")
def _():
    assert_invalid(refused(lambda: SyncClient().run("fal-ai/controlnet-ip-adapter", {"seed": "x"}), 422))


@check("validation-error-of-job", "fast", "SyncClient.subscribe")
def _():
    subscribe = lambda: SyncClient().subscribe("fal-ai/controlnet-ip-adapter", {"seed": "x"}, interval=0.02)
    assert_invalid(refused(subscribe, 422))


@check("failed-job", "failing", "SyncClient.subscribe")
def _():
    updates = []
    subscribe = lambda: SyncClient().subscribe(FLUX, INPUT, interval=0.02, on_queue_update=updates.append)
    error = refused(subscribe, 500)
    assert error.error_type == updates[-1].error_type == "runner_server_error", updates


@check("errors-by-status", "failing", "SyncClient.run")
def _():
    for status in (400, 403, 404, 500, 503):
        error = refused(lambda: SyncClient().run(FLUX, INPUT), status)
        assert (error.message, error.error_type) == (f"planned {status}", "bad_request"), error


@check("wrong-key", "fast", "SyncClient.run", "SyncClient.submit")
def _():
    for call in (SyncClient(key="no-colon").run, SyncClient(key="no-colon").submit):
        try:
            call(FLUX, INPUT)
        except FalClientHTTPError as error:
            assert error.status_code == 401, error
        else:
            raise AssertionError("a wrong key was taken")


@check("start-timeout", "slow", "SyncClient.submit", "SyncClient.cancel")
def _():
    # The runner of this mock is taken by the first job for ever, so the second cannot start in time.
    client = SyncClient()
    first = client.submit("acme/single", INPUT)
    handle = client.submit("acme/single", INPUT, start_timeout=1.1)
    error = refused(lambda: handle.get(interval=0.05), 504)
    assert error.response_headers["x-fal-request-timeout-type"] == "user"
    client.cancel("acme/single", first.request_id)


@check("client-timeout-cancels", "slow", "SyncClient.subscribe")
def _():
    client = SyncClient()
    # So that the connection is there: what ends while it submits has no id to cancel by.
    client.submit("acme/other", INPUT).cancel()
    try:
        client.subscribe("acme/late", INPUT, client_timeout=2.5, interval=0.05)
    except FalClientTimeoutError as error:
        assert error.request_id, "it does not say which job is left"
        return
    raise AssertionError("it came back")


@check("cancel-in-queue", "slow", "SyncRequestHandle.cancel")
def _():
    client = SyncClient()
    first, second = (client.submit("acme/queued", INPUT) for _ in range(2))
    second.cancel()
    assert isinstance(second.status(), Completed)
    first.cancel()


@check("cancel-of-running-job", "slow", "SyncRequestHandle.cancel", "SyncRequestHandle.iter_events")
def _():
    handle = SyncClient().submit("acme/running", INPUT)
    seen = []
    for event in handle.iter_events(interval=0.02):
        if names([event]) == ["InProgress"] and "InProgress" not in names(seen):
            handle.cancel()
        seen.append(event)
    assert "InProgress" in names(seen), seen


@check("webhook-is-delivered-and-verifies", "fast", "SyncClient.submit")
def _():
    with receiver() as (url, wait):
        handle = SyncClient().submit(FLUX, INPUT, webhook_url=url)
        assert_signed(wait(), handle.request_id, handle.get(interval=0.02))


@check("priority-and-hint", "fast", "SyncClient.submit")
def _():
    SyncClient().submit("acme/low", INPUT, priority="low", hint="lora-1", path="/fast")


@check("stream-of-text", "fast", "SyncClient.stream")
def _():
    items = list(fal_client.stream("fal-ai/any-llm", INPUT))
    assert len(items) > 2, items
    assert [item["partial"] for item in items].index(False) == len(items) - 1
    for before, after in zip(items, items[1:]):
        assert after["output"].startswith(before["output"])
    return items[-1]["output"]


@check("stream-of-pictures", "fast", "SyncClient.stream")
def _():
    items = list(SyncClient().stream(FLUX, {**INPUT, "seed": 7}))
    assert items[-1]["seed"] == 7
    assert len({item["images"][0]["url"] for item in items}) == len(items) > 1
    for item in items:
        size_of(item["images"][0])


@check("cut-stream", "failing", "SyncClient.stream")
def _():
    # Its mock cuts the first stream in the middle.
    seen = 0
    try:
        for _ in SyncClient().stream(FLUX, INPUT):
            seen += 1
    except Exception as error:
        return f"{seen} items, then {error}"
    raise AssertionError("a cut stream looked whole")


@check("upload", "fast", "SyncClient.upload")
def _():
    content = bytes(number * 7 % 251 for number in range(100_000))
    url = fal_client.upload(content, "image/png", "cat.png")
    assert_file(url, "image/png", content)
    assert_file(SyncClient().upload("text", "text/plain"), "text/plain", b"text")
    return url


@check("upload-with-lifecycle", "fast", "SyncClient.upload")
def _():
    lifecycle = fal_client.StorageSettings(expires_in="1h", initial_acl=fal_client.StorageACL(default="forbid"))
    url = SyncClient().upload(b"x", "text/plain", lifecycle=lifecycle)
    assert status_of(url) == 403, "a forbidden file was given"


@check("upload-file", "fast", "SyncClient.upload_file")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "notes.txt")
        with open(path, "wb") as file:
            file.write(b"notes")
        url = fal_client.upload_file(path)
    assert url.endswith("notes.txt"), url
    assert_file(url, "text/plain", b"notes")


@check("upload-image", "fast", "SyncClient.upload_image")
def _():
    image = Image.new("RGB", (20, 10), "red")
    url = fal_client.upload_image(image, format="png")
    copy = Image.open(picture_at(url))
    assert (copy.size, copy.format) == ((20, 10), "PNG"), copy


@check("upload-of-more-than-100-mb", "fast", "SyncClient.upload", "SyncClient.upload_file")
def _():
    content = long_content()
    assert len(content) > 100 << 20
    client = SyncClient()
    assert_file(client.upload(content, "video/mp4", "long.mp4"), "video/mp4", content)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "long.mp4")
        with open(path, "wb") as file:
            file.write(content)
        assert_file(client.upload_file(path), "video/mp4", content)


@check("upload-to-the-fallback-repository", "failing", "SyncClient.upload")
def _():
    # Its mock refuses the first upload to the CDN.
    url = SyncClient().upload(b"fallback", "text/plain", "a.txt")
    assert_file(url, "text/plain", b"fallback")
    chosen = SyncClient().upload(b"chosen", "text/plain", "b.txt", repository="fal")
    assert_file(chosen, "text/plain", b"chosen")
    return url


@check("files-inside-an-input", "fast", "SyncClient.subscribe", "encode", "encode_file", "encode_image")
def _():
    image = fal_client.encode_image(Image.new("RGB", (2, 2)), format="png")
    assert image.startswith("data:image/png;base64,")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.json")
        with open(path, "w") as file:
            file.write("{}")
        assert fal_client.encode_file(path) == "data:application/json;base64,e30="
    output = SyncClient().subscribe("fal-ai/controlnet-ip-adapter", {
        "prompt": "portrait of a man",
        "reference_image_url": image,
        "reference_pose_image_url": SyncClient().upload(b"x", "image/jpeg"),
        "ip_archive_url": fal_client.encode("zip", "application/zip"),
        "seed": 42,
    }, interval=0.02)
    assert output["seed"] == 42
    return size_of(output["images"][0])


@check("realtime", "fast", "SyncClient.realtime", "RealtimeConnection.send", "RealtimeConnection.recv",
       "RealtimeConnection.close")
def _():
    for use_jwt in (True, False):
        with fal_client.realtime("acme/live", use_jwt=use_jwt, max_buffering=9) as connection:
            for number in range(3):
                connection.send({**INPUT, "request_id": str(number)})
                answer = connection.recv()
                assert answer["request_id"] == str(number), answer
                assert answer["images"], answer
            connection.close()
            assert connection.recv() is None


@check("realtime-with-json", "fast", "SyncClient.realtime")
def _():
    with SyncClient().realtime("acme/live", encode_message=json.dumps) as connection:
        connection.send({**INPUT, "request_id": "1"})
        assert connection.recv()["request_id"] == "1"


@check("realtime-session-that-ends", "fast", "SyncClient.realtime")
def _():
    outputs = 0
    with SyncClient().realtime("acme/captions-server-streaming") as connection:
        connection.send(INPUT)
        try:
            while connection.recv() is not None:
                outputs += 1
        except RealtimeError as error:
            assert error.error == "TIMEOUT", error
    assert outputs > 1, outputs


@check("ws-connect", "fast", "SyncClient.ws_connect")
def _():
    with SyncClient().ws_connect("acme/live", path="realtime") as socket:
        socket.send(msgpack.packb({**INPUT, "request_id": "raw"}))
        assert msgpack.unpackb(socket.recv())["request_id"] == "raw"


run_checks([SyncClient, fal_client.SyncRequestHandle, fal_client.RealtimeConnection, fal_client.encode,
            fal_client.encode_file, fal_client.encode_image])
