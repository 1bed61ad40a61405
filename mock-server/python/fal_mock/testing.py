"""Tests of programs that call fal, offline: a mock per session, a world of its own per test.

A plugin of pytest in one file that needs nothing else. The package ``fal-mock`` brings it along; copied beside the
tests, it is ``pytest_plugins = ["testing"]`` in ``conftest.py``. A test that takes the fixture ``fal`` calls fal as
ever, and reaches the mock::

    def test_a_picture_is_made(fal):
        result = fal_client.subscribe("fal-ai/flux/dev", arguments={"prompt": "a cat"})
        assert result["images"]
        assert [job["state"] for job in fal.jobs()] == ["succeeded"]

Time jumps: what takes two hours is over at once, unless ``@pytest.mark.fal(clock="real")`` says otherwise. Nothing of
the program under test is replaced: variables of the environment lead its connections to the mock, as they do
under ``fal-mock exec``, and programs that it starts inherit them.
"""

from __future__ import annotations

import dataclasses
import datetime
import gc
import http.client
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import warnings
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Union

import pytest

Json = Any
Duration = Union[str, int, float, datetime.timedelta]
"""Such as ``"90s"`` or ``"2h"``; a number is seconds."""


class MockError(Exception):
    """No mock could be started or reached, or it refused what was asked; the text says what to do."""


class Mock:
    """A mock that runs."""

    def __init__(self, url: str, process: Optional[subprocess.Popen] = None) -> None:
        self.url = url.rstrip("/")
        address = urllib.parse.urlsplit(self.url)
        if address.scheme != "http" or not address.hostname:
            raise MockError(f"{url!r} is no address of a mock: give one such as http://127.0.0.1:8787")
        self._host, self._port = address.hostname, address.port or 80
        self._process = process
        self._folder: Optional[tempfile.TemporaryDirectory] = None
        self._variables: Dict[str, Optional[str]] = {}

    @classmethod
    def start(cls, arguments: Sequence[str] = (), binary: Union[str, Path, None] = None) -> "Mock":
        """Starts one on a free port. It ends with this process, however that ends.

        ``arguments`` are those of ``fal-mock``, such as ``["--openapi", "documents/"]``. Without ``binary`` it is
        the one that ``FAL_MOCK_BIN`` names, that of the package ``fal-mock``, or the first on the path.
        """
        program = str(binary or find_binary())
        command = [program, "--port", "0", "--quiet", "--stop-on-eof", *arguments]
        with tempfile.TemporaryFile() as complaints:
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
                )
            except OSError as error:
                raise MockError(f"{program} cannot be started: {error}") from error
            assert process.stdout is not None
            first = process.stdout.readline().decode()
            process.stdout.close()
            url = first.strip().rpartition(" ")[2]
            if not url.startswith("http://"):
                process.kill()
                process.wait()
                complaints.seek(0)
                said = complaints.read().decode(errors="replace").strip()
                raise MockError(f"{' '.join(command)} did not start: {said or first!r}")
        return cls(url, process)

    @classmethod
    def at(cls, url: str) -> "Mock":
        """One that runs already."""
        mock = cls(url)
        try:
            mock.call("GET", "live")
        except (OSError, http.client.HTTPException) as error:
            raise MockError(
                f"no mock answers at {url} ({error}): start it with `fal-mock`, or unset FAL_MOCK_URL "
                "and --fal-mock-url to let the tests start one"
            ) from error
        return mock

    def call(
        self,
        method: str,
        path: str,
        body: Json = None,
        tenant: Optional[str] = None,
        **query: Union[str, int, None],
    ) -> Json:
        """One call of the control API: ``call("GET", "jobs", state="failed")``.

        A body that is text goes as it is, every other one as JSON. What is refused raises :class:`MockError`.
        """
        pairs = {name: value for name, value in {**query, "tenant": tenant}.items() if value is not None}
        target = f"/__mock/v1/{path}" + (f"?{urllib.parse.urlencode(pairs)}" if pairs else "")
        # No library that would ask a proxy: under `fal` the mock is the proxy.
        connection = http.client.HTTPConnection(self._host, self._port, timeout=CALL_TIME_MAX)
        try:
            data = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
            connection.request(method, target, data.encode() if isinstance(data, str) else data)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        is_json = "json" in (response.getheader("content-type") or "")
        value = json.loads(answer) if answer and is_json else answer.decode()
        if response.status >= 400:
            detail = value.get("detail", value) if isinstance(value, dict) else value
            raise MockError(f"{method} {target.partition('?')[0]}: {detail}")
        return value

    def tenant(self, name: str = "test", scenario: Json = None, **settings: Json) -> "Fal":
        """A world of its own, until its ``end``. ``settings`` are those of :meth:`Fal.__init__`."""
        return Fal(self, name, scenario=scenario, **settings)

    def variables(self, key: str) -> Dict[str, Optional[str]]:
        """What leads programs here with that key; ``None`` for a variable that must not be there."""
        if self._folder is None:
            folder = tempfile.TemporaryDirectory(prefix="fal-mock-")
            told = self.call(
                "GET", "env", dir=folder.name, key=_ANY_KEY, node_options=os.environ.get("NODE_OPTIONS", "")
            )
            for name, text in told["files"].items():
                (Path(folder.name) / Path(name).name).write_text(text, encoding="utf-8")
            self._folder, self._variables = folder, told["variables"]
        return {name: key if value == _ANY_KEY else value for name, value in self._variables.items()}

    def stop(self) -> None:
        """Stops one that was started here, and removes its files."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(STOP_TIME_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


class Fal:
    """The world of one test: jobs, files, requests, clock and scenario that no other test sees.

    Where a method moves time, webhooks are delivered on the way. If the receiver runs in the event loop of the test,
    call it from a thread: ``await asyncio.to_thread(fal.advance, "2h")``.
    """

    def __init__(
        self,
        mock: Mock,
        name: str,
        *,
        scenario: Union[str, Path, Mapping[str, Json], None] = None,
        clock: str = "virtual:auto",
        **settings: Json,
    ) -> None:
        """``settings`` are those of ``POST /__mock/v1/tenants``: ``seed``, ``start``, ``queue_time``, ``run_time``,
        ``runners``, ``instant``. ``clock`` is ``real``, ``scaled:N``, ``virtual`` or ``virtual:auto``.
        """
        self.mock = mock
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "test"
        times = ("queue_time", "run_time")
        body = {name: _duration(value) if name in times else value for name, value in settings.items()}
        made = mock.call(
            "POST", "tenants", {**body, "clock": clock, "name": f"{stem[:48]}-{secrets.token_hex(4)}"}
        )
        self.name: str = made["name"]
        self.key: str = made["key"]
        self.has_scenario = False
        try:
            if scenario is not None:
                self.scenario(scenario)
        except BaseException:
            self.end()
            raise

    @property
    def url(self) -> str:
        """The address of the mock."""
        return self.mock.url

    def call(self, method: str, path: str, body: Json = None, **query: Union[str, int, None]) -> Json:
        """A call of the control API about this world, for what has no method here."""
        return self.mock.call(method, path, body, tenant=self.name, **query)

    # What is to happen.

    def scenario(self, scenario: Union[str, Path, Mapping[str, Json]]) -> None:
        """Plays a scenario from now on: one that comes with the mock, such as ``"rate-limited"``; a file (``Path``);
        its text in YAML or JSON; or the same as a ``dict``.

        What the mock plays for everybody (``--scenario``) decides where this one does not.
        """
        name = "test"
        body: Json = scenario
        if isinstance(scenario, Path):
            name = str(scenario)
            try:
                body = scenario.read_text(encoding="utf-8")
            except OSError as error:
                raise MockError(f"the scenario {name} cannot be read: {error}") from error
        elif isinstance(scenario, str) and re.fullmatch(_NAME, scenario):
            name, body = scenario, None
        self.call("PUT", "scenario", dict(body) if isinstance(body, Mapping) else body, name=name)
        self.has_scenario = True

    def finish(self, request_id: str) -> Json:
        """Ends an unfinished job now as it would have ended."""
        return self.call("POST", f"jobs/{request_id}/finish")

    def fail(self, request_id: str, status: int = 500, **failure: Json) -> Json:
        """Lets an unfinished job fail now; ``failure`` may have ``error_type``, ``detail`` and ``body``."""
        return self.call("POST", f"jobs/{request_id}/fail", {"status": status, **failure})

    def requeue(self, request_id: str) -> Json:
        """Puts a running job back into the queue, as when its runner is lost."""
        return self.call("POST", f"jobs/{request_id}/requeue")

    def cancel(self, request_id: str) -> Json:
        """Asks for the cancel of a job."""
        return self.call("POST", f"jobs/{request_id}/cancel")

    def redeliver(self, request_id: str) -> Json:
        """Delivers the news of a job to its webhook once more."""
        return self.call("POST", f"jobs/{request_id}/redeliver")

    def reset(self, scope: str = "all") -> None:
        """Throws away ``all``, or only ``requests`` or ``ledger``."""
        self.call("POST", "reset", scope=scope)

    def snapshot(self, name: str) -> None:
        """Keeps a copy of this world."""
        self.call("PUT", f"snapshots/{name}")

    def restore(self, name: str) -> None:
        """Goes back to a copy, in time too."""
        self.call("POST", f"snapshots/{name}/restore")

    # Time.

    @property
    def now(self) -> datetime.datetime:
        """What the clock shows."""
        text = self.call("GET", "clock")["now"]
        whole, _, rest = text.rstrip("Z").partition(".")
        moment = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
        return moment + datetime.timedelta(seconds=float(f"0.{rest or 0}"))

    def clock(self, mode: Optional[str] = None, frozen: Optional[bool] = None) -> Json:
        """The clock and what is waited for; with arguments it goes in another way from now on."""
        change = {name: value for name, value in (("mode", mode), ("frozen", frozen)) if value is not None}
        return self.call("PATCH", "clock", change) if change else self.call("GET", "clock")

    def advance(self, by: Duration) -> Json:
        """Moves the clock on."""
        return self.call("POST", "clock/advance", {"by": _duration(by)})

    def run_until(
        self,
        *,
        job: Optional[str] = None,
        time: Union[str, datetime.datetime, None] = None,
        next: bool = False,
        idle: bool = False,
    ) -> Json:
        """Moves the clock on to the end of a job, to a time, to the next event, or until nothing is waited for."""
        if isinstance(time, datetime.datetime):
            time = time.astimezone(datetime.timezone.utc).isoformat().replace("+00:00", "Z")
        asked = {"job": job, "time": time, "next": next or None, "idle": idle or None}
        return self.call(
            "POST", "clock/run-until", {name: value for name, value in asked.items() if value is not None}
        )

    # What has happened.

    def jobs(self, state: Optional[str] = None, endpoint: Optional[str] = None, limit: int = 100) -> List[Json]:
        """Jobs, the latest first."""
        return self.call("GET", "jobs", state=state, endpoint=endpoint, limit=limit)["jobs"]

    def job(self, request_id: str) -> Json:
        """One job with input, logs, runs and result."""
        return self.call("GET", f"jobs/{request_id}")

    def requests(self, limit: int = 100, **filters: Union[str, int]) -> List[Json]:
        """Requests and their answers, the latest first; ``filters`` are ``host``, ``status``, ``text``, ``after``."""
        return self.call("GET", "requests", limit=limit, **filters)["requests"]

    def request(self, number: int) -> Json:
        """One request with headers and bodies."""
        return self.call("GET", f"requests/{number}")

    def ledger(self, twins: bool = False, limit: int = 100) -> Json:
        """What was called, what was called twice with the same input, and what it would have cost."""
        return self.call("GET", "ledger", limit=limit, twins="true" if twins else None)

    def webhooks(self, limit: int = 100) -> List[Json]:
        """Deliveries to webhooks with their attempts, the latest first."""
        return self.call("GET", "webhooks", limit=limit)["deliveries"]

    def files(self, limit: int = 100) -> List[Json]:
        """Files that are kept, the latest first."""
        return self.call("GET", "files", limit=limit)["files"]

    def counters(self) -> Dict[str, int]:
        """Counts of everything since the world began."""
        return self.call("GET", "counters")

    def unmet(self) -> List[str]:
        """What the scenario expects and has not happened, one sentence each."""
        return self.call("GET", "verify")["unmet"]

    def verify(self, *requests: Mapping[str, Json], order: Sequence[Json] = ()) -> None:
        """Fails unless these requests have come, as often as they say, and in this order::

            fal.verify({"operation": "submit", "count": 1}, order=["submit", "result"])

        Both are as below ``expect`` in a scenario: ``operation``, ``endpoint``, ``headers``, ``input``, ``status`` and
        ``count``, which is a number or ``{"min": 1, "max": 3}``. Without arguments it is all that the scenario expects;
        fixture ``fal`` asks that at the end of a test.
        """
        if requests or order:
            unmet = self.call("POST", "verify", {"requests": list(requests), "order": list(order)})["unmet"]
        else:
            unmet = self.unmet()
        if unmet:
            raise AssertionError(_verdict(unmet))

    # Programs.

    def variables(self) -> Dict[str, Optional[str]]:
        """What leads programs into this world; ``None`` for a variable that must not be there."""
        return self.mock.variables(self.key)

    def environment(self, base: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
        """``base``, by default that of this process, changed so that a program ends up in this world."""
        merged: Dict[str, Optional[str]] = {**(os.environ if base is None else base), **self.variables()}
        return {name: value for name, value in merged.items() if value is not None}

    def enter(self, patch: pytest.MonkeyPatch) -> None:
        """Leads this process into this world until ``patch`` is undone. What fixture ``fal`` does."""
        _check_hosts()
        for name, value in self.variables().items():
            if value is None:
                patch.delenv(name, raising=False)
            else:
                patch.setenv(name, value)
        _forget_clients()

    def leave(self) -> None:
        """Lets clients forget this world; warns if one with a key of its own has called elsewhere."""
        strangers = [client for client in _forget_clients() if client.key not in (None, self.key)]
        if strangers:
            warnings.warn(
                "a client of fal_client with a key of its own has called under fixture `fal`; its calls went "
                "to the first tenant of the mock: leave the key away, or take `fal.key`",
                stacklevel=2,
            )

    def end(self) -> None:
        """Ends this world; all that it holds is gone."""
        self.mock.call("DELETE", f"tenants/{self.name}")

    def summary(self) -> str:
        """What has happened here, for a person."""
        lines = []
        requests = self.requests(limit=SUMMARY_MAX)
        lines.append("the last requests:" if requests else "no requests came in")
        for one in reversed(requests):
            mark = "?" if one["query"] else ""
            status = one["status"] or "cut"
            target = f"{one['host']}{one['path']}{mark}{one['query']}"
            lines.append(f"  {one['number']:>3} {one['at'][11:23]} {one['method']:<6} {status} {target}")
        for one in reversed(self.jobs(limit=SUMMARY_MAX)):
            why = f": {one['error']}" if one["error"] else ""
            lines.append(f"job {one['request_id']} {one['endpoint']} {one['state']}{why}")
        if self.has_scenario:
            lines.extend(f"not as expected: {one}" for one in self.unmet())
        return "\n".join(lines)


def find_binary() -> Path:
    """The program ``fal-mock``: that of ``FAL_MOCK_BIN``, of the package ``fal-mock``, or the first on the path."""
    named = os.environ.get("FAL_MOCK_BIN")
    if named:
        if not os.access(named, os.X_OK):
            raise MockError(f"FAL_MOCK_BIN names {named}, which is not there or no program")
        return Path(named)
    try:
        from fal_mock import binary
    except ImportError:
        carried = None
    else:
        carried = binary()
    found = carried or shutil.which("fal-mock")
    if not found:
        raise MockError(
            "fal-mock is not installed: `pip install fal-mock`, or name the program by FAL_MOCK_BIN, "
            "or start it elsewhere and name its address by FAL_MOCK_URL or --fal-mock-url"
        )
    return Path(found)


def _verdict(unmet: Sequence[str]) -> str:
    return "\n".join(["not as expected:", *(f"  {one}" for one in unmet)])


def _duration(value: Duration) -> str:
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    return value if isinstance(value, str) else f"{value:f}s"


def _check_hosts() -> None:
    # Read once, when fal_client is imported; such hosts would not be fal's.
    auth = sys.modules.get("fal_client.auth")
    host = getattr(auth, "FAL_RUN_HOST", "fal.run")
    if host != "fal.run":
        raise MockError(f"fal_client was imported while FAL_RUN_HOST was {host}: unset it for the tests")


def _forget_clients() -> List[Any]:
    """Lets each client of fal_client look at the environment anew: key, connections and tokens stay as they were at
    its first call. The one behind ``fal_client.run`` and so on is among them. Returns those that had called.
    """
    module = sys.modules.get("fal_client")
    kinds = [getattr(module, name, None) for name in ("SyncClient", "AsyncClient")]
    called = []
    while kinds:
        kind = kinds.pop()
        if kind is None:
            continue
        kinds.extend(kind.__subclasses__())
        own = {field.name for field in dataclasses.fields(kind)}
        for client in gc.get_referrers(kind):
            cached = [name for name in vars(client) if name not in own] if type(client) is kind else []
            if not cached:
                continue
            called.append(client)
            for name in cached:
                value = vars(client).pop(name)
                # Asynchronous ones belong to an event loop that may be closed by now; the collector takes them.
                if hasattr(value, "close"):
                    value.close()
    return called


# The plugin.


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fal-mock", "a fal.ai for tests")
    group.addoption(
        "--fal-mock-url",
        metavar="URL",
        help="use the mock that runs there, in place of one for this session (also: FAL_MOCK_URL)",
    )
    parser.addini(
        "fal_mock_args", type="args", default=[], help="arguments for fal-mock, such as --openapi documents/"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "fal(clock, scenario, seed, start, queue_time, run_time, runners, instant): the world of a test that takes "
        "the fixture `fal`. A scenario is one that comes with the mock, or a file beside the test.",
    )


@pytest.fixture(scope="session")
def fal_mock(pytestconfig: pytest.Config) -> Iterator[Mock]:
    """The mock: the one at ``--fal-mock-url`` or ``FAL_MOCK_URL``, else one for this session.

    With pytest-xdist each worker has one of its own, so that none waits for another.
    """
    url = pytestconfig.getoption("--fal-mock-url") or os.environ.get("FAL_MOCK_URL")
    mock = Mock.at(url) if url else Mock.start(pytestconfig.getini("fal_mock_args"))
    yield mock
    mock.stop()


@pytest.fixture
def fal(request: pytest.FixtureRequest, fal_mock: Mock) -> Iterator[Fal]:
    """A world of its own for this test, into which the whole process calls as long as it runs."""
    settings: Dict[str, Json] = {}
    for marker in reversed(list(request.node.iter_markers("fal"))):
        settings.update(marker.kwargs)
    scenario = settings.pop("scenario", None)
    if isinstance(scenario, str) and re.fullmatch(_FILE, scenario):
        scenario = request.path.parent / scenario
    world = fal_mock.tenant(request.node.name, scenario, **settings)
    request.node.stash[_WORLD] = world
    with pytest.MonkeyPatch.context() as patch:
        try:
            world.enter(patch)
            yield world
            world.leave()
        finally:
            del request.node.stash[_WORLD]
            world.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    result = yield
    world = item.stash.get(_WORLD, None)
    # What the whole session plays is not for one test to fulfil.
    if world is not None and world.has_scenario:
        unmet = world.unmet()
        if unmet:
            pytest.fail(_verdict(unmet), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    world = item.stash.get(_WORLD, None)
    if report.failed and world is not None:
        try:
            report.sections.append(("fal-mock", world.summary()))
        except (MockError, OSError, http.client.HTTPException) as error:
            report.sections.append(("fal-mock", f"the mock has gone: {error}"))
    return report


_WORLD = pytest.StashKey[Fal]()

_NAME = r"[a-z0-9-]+"
"""A scenario that comes with the mock."""

_FILE = r"[^\n{}]*\.(ya?ml|json)"
"""A scenario beside the test."""

_ANY_KEY = "fal-mock:any-key"

CALL_TIME_MAX = 60.0
"""Seconds until a call of the control API has been answered; moves of time wait for deliveries."""

STOP_TIME_MAX = 10.0
"""Seconds until a mock has stopped."""

SUMMARY_MAX = 20
"""Requests and jobs that a summary names."""
