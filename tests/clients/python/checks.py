"""What the checks of both clients share: running them, looking at what came, and keeping this process here.

A check is a function with an id, the mock that it uses, and the public methods that it exercises. One JSON line per
check goes to stdout.
"""

import asyncio
import base64
import hashlib
import inspect
import io
import json
import os
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from PIL import Image

FLUX = "fal-ai/flux/dev"
INPUT = {"prompt": "a cat"}
HERE = {"", "localhost", "127.0.0.1", "::1"}

addresses = json.loads(sys.argv[1])
checks = []
strays = []
https = {}
http = None  # What the checks themselves fetch with, by the same door.


def guard(event, arguments):
    """Hears of every connection and every look-up of a name before it happens."""
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else ""
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0] or ""
    else:
        return
    host = host.decode() if isinstance(host, bytes) else str(host)
    if host not in HERE:
        strays.append(host)
        raise RuntimeError(f"this would have left the machine: {host}")


sys.addaudithook(guard)


def check(id, mock, *methods):
    """Registers a check."""

    def register(function):
        checks.append((id, mock, methods, function))
        return function

    return register


def use(mock):
    """Leads what is opened from now on to a mock: the variables that `fal-mock exec` sets, for another one."""
    global http
    for name in list(os.environ):
        if name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            os.environ[name] = addresses[mock]
    if mock not in https:
        # One for all files, because each reads all roots of trust.
        https[mock] = httpx.Client(timeout=60)
    http = https[mock]


def run_checks(public=None, door="connect"):
    """Runs them in order. `public` are classes and functions whose every public method a check must exercise.

    Door `connect`: every call goes by a CONNECT tunnel and TLS, as under `fal-mock exec`.
    """
    for id, mock, methods, function in checks:
        use(mock)
        line = {"id": id, "ok": True, "methods": methods, "door": door, "detail": None}
        start = time.monotonic()
        try:
            result = function()
            line["detail"] = asyncio.run(result) if inspect.iscoroutine(result) else result
        except BaseException:
            line |= {"ok": False, "detail": traceback.format_exc()}
        line["seconds"] = round(time.monotonic() - start, 3)
        print(json.dumps(line), flush=True)
    if public is not None:
        check_completeness(public, door)
    # A call that the client has given up may go on in a thread of its own, for which Python would wait.
    os._exit(0)


def check_completeness(public, door):
    named = {method for _, _, methods, _ in checks for method in methods}
    wanted = set()
    for thing in public:
        if inspect.isclass(thing):
            names = [name for name, member in vars(thing).items() if callable_of(member) and not name.startswith("_")]
            wanted |= {f"{thing.__name__}.{name}" for name in names}
        else:
            wanted.add(thing.__name__)
    detail = {"not exercised": sorted(wanted - named), "unknown": sorted(named - wanted)}
    ok = wanted == named and not strays
    print(json.dumps({"id": "completeness", "ok": ok, "methods": [], "door": door, "detail": f"{detail} {strays}"}), flush=True)


def callable_of(member):
    return callable(member) or isinstance(member, (classmethod, staticmethod))


def names(statuses):
    return [type(status).__name__ for status in statuses]


def assert_forward(statuses):
    """Updates never go back, and end with the job."""
    order = ["Queued", "InProgress", "Completed"]
    ranks = [order.index(name) for name in names(statuses)]
    assert ranks == sorted(ranks), names(statuses)
    assert names(statuses)[-1] == "Completed"
    assert len(set(ranks)) > 1, "the job was not seen before its end"


def size_of(image):
    """Fetches an image of an output and reads its kind and size from the file itself."""
    answer = http.get(image["url"])
    assert answer.status_code == 200, answer.text
    picture = Image.open(io.BytesIO(answer.content))
    picture.load()
    assert Image.MIME[picture.format] == answer.headers["content-type"] == image["content_type"], picture
    assert picture.size == (image["width"], image["height"]), picture
    return f"{picture.format} of {picture.width}x{picture.height}"


def picture_at(url):
    """A picture, as a file."""
    answer = http.get(url)
    assert answer.status_code == 200, answer
    return io.BytesIO(answer.content)


def assert_file(url, content_type, content):
    """A file is what was uploaded. Long ones are looked at where their parts meet."""
    assert url.startswith("https://"), url
    head = http.head(url)
    assert head.status_code == 200, head
    assert head.headers["content-type"] == content_type, head.headers
    assert int(head.headers["content-length"]) == len(content)
    if len(content) < 1 << 20:
        assert http.get(url).content == content
        return
    for start in (0, PART - 7, 9 * PART - 7, len(content) - 14):
        part = http.get(url, headers={"Range": f"bytes={start}-{start + 13}"})
        assert part.status_code == 206, part
        assert part.content == content[start : start + 14], start


def long_content():
    """More than the client sends in one piece, and no two parts alike."""
    block = bytes(range(256)) * 4096
    return b"".join(bytes([number]) + block[1:] for number in range(100)) + b"end"


def assert_invalid(error):
    """The five problems of an input for `fal-ai/controlnet-ip-adapter`."""
    assert error.status_code == 422, error
    places = sorted(".".join(problem["loc"]) for problem in error.response.json()["detail"])
    assert places == [
        "body.ip_archive_url",
        "body.prompt",
        "body.reference_image_url",
        "body.reference_pose_image_url",
        "body.seed",
    ], places


@contextmanager
def receiver():
    """Listens for one delivery: gives an address, and a function that waits for headers and body."""
    arrived = threading.Event()
    delivery = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()
            delivery.update(path=self.path, headers=dict(self.headers), body=body)
            arrived.set()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def wait():
        assert arrived.wait(20), "nothing was delivered"
        return delivery

    try:
        yield f"http://127.0.0.1:{server.server_port}/hook?x=1&y=2", wait
    finally:
        server.shutdown()


def status_of(url):
    return http.get(url).status_code


def assert_signed(delivery, request_id, output):
    """Verifies with the library that fal's documentation names, so that no code of the mock agrees with itself."""
    keys = http.get("https://rest.fal.ai/.well-known/jwks.json").json()["keys"]
    headers = {name.lower(): value for name, value in delivery["headers"].items()}
    header = lambda name: headers[f"x-fal-webhook-{name}"]

    def is_signed(body):
        digest = hashlib.sha256(body).hexdigest()
        message = "\n".join([header("request-id"), header("user-id"), header("timestamp"), digest]).encode()
        for key in keys:
            try:
                Ed25519PublicKey.from_public_bytes(from_base64url(key["x"])).verify(
                    bytes.fromhex(header("signature")), message
                )
                return True
            except InvalidSignature:
                pass
        return False

    assert delivery["path"] == "/hook?x=1&y=2", delivery["path"]
    assert is_signed(delivery["body"]), "no key has made its signature"
    assert not is_signed(delivery["body"] + b" "), "any body would do"
    told = json.loads(delivery["body"])
    assert (told["request_id"], told["status"]) == (request_id, "OK"), told
    assert told["payload"]["seed"] == output["seed"]
    size_of(told["payload"]["images"][0])


def from_base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


PART = 10 << 20
