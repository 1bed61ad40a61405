"""Tests of an application with the fixture `fal`, in worlds of their own that run at once."""

import asyncio
import datetime
import io
import os
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import app
import fal_client
import fal_mock.testing
import httpx
import pytest

FLUX = "fal-ai/flux/dev"


@pytest.mark.parametrize("prompt", ["a cat", "a dog", "a bird", "a fish", "a snail"])
def test_a_picture_is_made(fal, prompt):
    assert app.draw(prompt).startswith("https://v3.fal.media/files/")
    [job] = fal.jobs()
    assert (job["endpoint"], job["state"]) == (FLUX, "succeeded")
    assert fal.job(job["request_id"])["input"]["json"] == {"prompt": prompt}


@pytest.mark.parametrize("number", range(3))
def test_a_client_that_is_older_than_the_test_calls_into_its_world(fal, number):
    app.draw_by_client(f"picture {number}")
    assert [fal.job(job["request_id"])["input"]["json"]["prompt"] for job in fal.jobs()] == [f"picture {number}"]


@pytest.mark.parametrize("number", range(3))
async def test_functions_of_the_module_are_asynchronous_too(fal, number):
    assert (await app.draw_async(f"picture {number}")).startswith("https://v3.fal.media/")
    assert len(fal.jobs()) == 1


async def test_an_own_asynchronous_client_calls_into_the_world(fal):
    client = fal_client.AsyncClient()
    results = await asyncio.gather(*(client.run(FLUX, arguments={"prompt": str(n)}) for n in range(5)))
    assert all(result["images"] for result in results)
    assert fal.counters()["runs"] == 5


def test_a_client_with_the_key_of_the_world_calls_into_it(fal):
    client = fal_client.SyncClient(key=fal.key)
    client.run(FLUX, arguments={"prompt": "a cat"})
    assert fal.counters()["runs"] == 1


def test_a_client_with_another_key_is_noticed(fal):
    with pytest.warns(UserWarning, match="a key of its own"):
        client = fal_client.SyncClient(key="another:key")
        client.run(FLUX, arguments={"prompt": "a cat"})
        fal.leave()
    assert fal.counters()["runs"] == 0


def test_a_picture_can_be_downloaded(fal):
    picture = httpx.get(app.draw("a cat"))
    assert picture.status_code == 200
    assert picture.content.startswith((b"\x89PNG", b"\xff\xd8"))
    # The library of the language finds its way by the same variables.
    with urllib.request.urlopen(app.draw("a dog")) as response:
        assert response.status == 200


@pytest.mark.fal(clock="virtual", run_time="2h", queue_time="1m")
def test_two_hours_of_training(fal):
    job = app.start_training("https://example.com/cats.zip")
    assert isinstance(fal_client.status("acme/lora-trainer", job), fal_client.Queued)
    before = fal.now
    fal.advance("1m")
    fal.advance(datetime.timedelta(hours=1))
    assert isinstance(fal_client.status("acme/lora-trainer", job), fal_client.InProgress)
    fal.run_until(job=job)
    assert isinstance(fal_client.status("acme/lora-trainer", job), fal_client.Completed)
    assert (fal.now - before).total_seconds() == pytest.approx(2 * 3600 + 60, abs=1)
    assert fal_client.result("acme/lora-trainer", job)


@pytest.mark.fal(run_time=7200)
def test_time_jumps_by_itself(fal):
    before = fal.now
    assert app.draw("a cat")
    assert fal.now - before >= datetime.timedelta(hours=2)


@pytest.mark.fal(clock="virtual", run_time="1h")
def test_a_job_fails_by_hand(fal):
    handle = fal_client.submit(FLUX, arguments={"prompt": "a cat"})
    fal.run_until(next=True)
    fal.fail(handle.request_id, status=503, error_type="runner_server_error", detail="it fell over")
    with pytest.raises(fal_client.FalClientHTTPError) as caught:
        handle.get()
    assert caught.value.status_code == 503
    assert fal.job(handle.request_id)["state"] == "failed"


@pytest.mark.fal(clock="virtual", runners=1, run_time="1h")
def test_jobs_are_moved_by_hand(fal):
    first, second = (fal_client.submit(FLUX, arguments={"prompt": prompt}) for prompt in "ab")
    fal.run_until(next=True)
    assert fal.job(second.request_id)["state"] == "queued"
    fal.finish(first.request_id)
    fal.cancel(second.request_id)
    fal.run_until(idle=True)
    assert fal.job(first.request_id)["state"] == "succeeded"
    assert len(fal.jobs(state="succeeded")) == 1


@pytest.mark.fal(scenario="content-policy")
def test_a_scenario_that_comes_with_the_mock_decides(fal):
    with pytest.raises(fal_client.FalClientHTTPError) as caught:
        app.draw("a forbidden city")
    assert caught.value.status_code == 422
    assert app.draw("an open city")


@pytest.mark.fal(scenario="out-of-memory.yaml")
def test_a_scenario_beside_the_test_decides(fal):
    with pytest.raises(fal_client.FalClientHTTPError, match="out of memory"):
        app.draw("a very large cat")
    app.draw("a small cat")


def test_a_scenario_can_be_said_in_the_test(fal):
    rule = {"when": "fal-ai/flux/dev", "error": {"status": 503, "message": "no runner"}}
    fal.scenario({"rules": [rule], "expect": {"requests": [{"operation": "submit", "count": 1}]}})
    assert fal.unmet() == ["requests with operation submit: wanted 1, got 0"]
    with pytest.raises(AssertionError, match="wanted 1, got 0"):
        fal.verify()
    with pytest.raises(fal_client.FalClientHTTPError):
        app.draw("a cat")
    fal.verify()


def test_a_wrong_scenario_is_told_with_its_place(fal):
    with pytest.raises(fal_mock.testing.MockError, match=r"test:1:.*fualts"):
        fal.scenario("fualts: []\n")
    with pytest.raises(fal_mock.testing.MockError, match="flaky-network"):
        fal.scenario("no-such-scenario")
    assert fal.call("GET", "scenario")["name"] is None
    fal.has_scenario = False


def test_a_wrong_input_is_refused(fal):
    with pytest.raises(fal_client.FalClientHTTPError) as caught:
        fal_client.run("fal-ai/flux/dev", arguments={"prompt": ["no text"]})
    assert caught.value.status_code == 422
    assert [one["status"] for one in fal.requests(status=422)] == [422]


def test_the_ledger_finds_the_twin(fal):
    app.draw_again_if_it_fails("a cat")
    ledger = fal.ledger()
    assert (ledger["calls"], ledger["twins"]) == (2, 1)
    [twin] = fal.ledger(twins=True)["last"]
    assert twin["twin_of"] == 1 and twin["endpoint"] == FLUX


def test_what_came_is_verified(fal):
    app.draw("a cat")
    fal.verify({"operation": "submit", "count": 1, "input": {"/prompt": "a cat"}}, order=["submit", "status", "result"])
    fal.verify({"operation": "cancel", "count": 0})
    with pytest.raises(AssertionError, match="operation submit: wanted at least 2, got 1"):
        fal.verify({"operation": "submit", "count": {"min": 2}})
    with pytest.raises(AssertionError, match="order: step 2 never came"):
        fal.verify(order=["result", "submit"])
    with pytest.raises(fal_mock.testing.MockError, match="submti"):
        fal.verify({"operation": "submti"})


def test_an_upload_arrives(fal, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("thirteen byte")
    url = fal_client.upload_file(path)
    assert httpx.get(url).text == "thirteen byte"
    [file] = fal.files()
    assert file["bytes"] == 13 and file["is_complete"]


async def test_an_upload_of_bytes_arrives(fal):
    url = await fal_client.upload_async(b"x" * 1000, "application/octet-stream")
    assert url.startswith("https://v3.fal.media/")
    assert fal.counters()["uploads"] == 1


def test_a_webhook_is_delivered(fal):
    seen = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        thread = threading.Thread(target=receiver.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{receiver.server_port}/done"
        fal_client.submit(FLUX, arguments={"prompt": "a cat"}, webhook_url=url).get()
        thread.join(timeout=30)
    assert len(seen) == 1
    assert fal.webhooks()[0]["url"] == url


@pytest.mark.fal(seed=7)
def test_a_seed_decides(fal, fal_mock):
    other = fal_mock.tenant("twin", seed=7)
    assert other.key != fal.key
    mine = fal_client.submit(FLUX, arguments={"prompt": "a cat"}).request_id
    theirs = httpx.post(
        f"https://queue.fal.run/{FLUX}", json={"prompt": "a cat"}, headers={"authorization": f"Key {other.key}"}
    ).json()["request_id"]
    other.end()
    assert mine == theirs


def test_a_world_goes_back(fal):
    app.draw("a cat")
    fal.snapshot("one")
    app.draw("a dog")
    fal.restore("one")
    assert len(fal.jobs()) == 1
    fal.reset()
    assert fal.jobs() == []


def test_other_hosts_are_out_of_reach(fal):
    with pytest.raises(httpx.ProxyError):
        httpx.get("https://example.com")


def test_a_program_that_is_started_calls_into_the_world(fal):
    script = "import fal_client; print(fal_client.run('acme/app', arguments={})['images'][0]['url'])"
    for env in (None, fal.environment({"PATH": os.environ["PATH"]})):
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
        assert done.stdout.startswith("https://v3.fal.media/"), done.stderr
    assert fal.counters()["runs"] == 2


def test_a_picture_of_a_picture(fal):
    from PIL import Image

    url = fal_client.upload_image(Image.new("RGB", (64, 32)))
    image = Image.open(io.BytesIO(httpx.get(url).content))
    assert image.size == (64, 32)


def test_the_environment_is_that_of_the_world(fal):
    assert os.environ["FAL_KEY"] == fal.key
    assert os.environ["FAL_MOCK_URL"] == fal.url
    assert Path(os.environ["SSL_CERT_FILE"]).is_file()


def test_without_the_fixture_nothing_is_changed():
    assert os.environ.get("FAL_KEY") == "a-real-key:that-must-not-be-used"
    assert "HTTPS_PROXY" not in os.environ
