"""Whatever an engine answers, the core meets BackendError alone: every verb, every endpoint it asks, every fault.

The engine is a small one that keeps one container; the notebook behind it really answers HTTP. Each verb is run once
to learn which endpoints it asks, then once for each of them with each fault.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.backends.contract import KEY
from tests.backends.test_engine import SmallEngine, died, output, said, until
from tests.specs import spec_of
from tmppool.backends import docker as docker_module
from tmppool.backends import engine
from tmppool.backends.container import container_name, labels, network_name
from tmppool.backends.docker import DockerBackend
from tmppool.backoff import Backoff
from tmppool.errors import BackendError, ImageError

CONTAINER = "c" * 64
SPEC = spec_of(service="ill", pool="main", image="some:image", network="bridge", start_timeout=1.0)
# aiodocker leaves a response whose body it cannot read to the collector, which closes its connection.
pytestmark = pytest.mark.filterwarnings("ignore:.*Connection.__del__:pytest.PytestUnraisableExceptionWarning")

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def break_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"Id": ')
    return await hang_up(request)


async def say_nothing(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


def answering(body: str, status: int = 200, kind: str = "application/json") -> Fault:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body.encode(), status=status, headers={"Content-Type": kind})

    return answer


FAULTS: dict[str, Fault] = {
    "400": answering('{"message": "ill"}', 400),
    "404": answering('{"message": "ill"}', 404),
    "409": answering('{"message": "ill"}', 409),
    "500": answering('{"message": "ill"}', 500),
    "500 without a message": answering("{}", 500),
    "500 that is no JSON": answering("oops", 500),
    "502 of a proxy": answering("<html>", 502, "text/html"),
    "no JSON": answering("oops\n"),
    "no UTF-8": answering("\udcff".encode("utf-8", "surrogatepass").decode("latin-1"), 500, "text/plain"),
    "a page": answering("<html>", 200, "text/html"),
    "an empty object": answering("{}\n"),
    "a list": answering("[7]\n"),
    "a number": answering("7\n"),
    "null": answering("null\n"),
    "parts of other types": answering('{"Id": 7, "State": 7, "Config": 7, "HostConfig": 7, "Labels": 7, "Actor": 7}\n'),
    "deep": answering("[" * 100_000),
    "nothing": answering(""),
    "hang up": hang_up,
    "break off": break_off,
    "silence": say_nothing,
}


class OneContainer(SmallEngine):
    """An engine with one container, made by the backend or there before; ``fault`` answers ``faulty`` endpoints."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.port = 0
        self.faulty, self.fault, self.skipped = "", FAULTS["500"], 0
        self.endpoints: list[str] = []
        self._sound: dict[str, Fault] = {
            "GET /version": answering('{"ApiVersion": "1.41"}'),
            "GET /info": answering('{"CgroupVersion": "2"}'),
            "GET /images/some:image/json": answering('{"Id": "sha256:abc", "Config": {}}'),
            "GET /networks/tmppool-ill-bridge": answering('{"Id": "n"}'),
            "GET /containers/json": self._list,
            "POST /containers/create": self._create,
            "GET /containers/ID/archive": answering('{"message": "no such file"}', 404),
            "PUT /containers/ID/archive": answering("", 200),
            "POST /containers/ID/start": answering("", 204),
            "POST /containers/ID/rename": answering("", 204),
            "GET /containers/ID/json": self._show,
            "GET /containers/ID/logs": self._log,
            "POST /containers/ID/wait": self._wait,
            "DELETE /containers/ID": self._delete,
            "GET /events": self.events,
        }
        self.reset()

    def reset(self, *, exists: bool = False, runs: bool = True, is_listed: bool = True) -> None:
        self.exists, self.runs, self.is_listed = exists, runs, is_listed
        self.name = container_name(SPEC, KEY)
        self.ended = asyncio.Event()
        self.endpoints, self.faulty, self.skipped = [], "", 0

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = re.sub(r"^/v\d\.\d+", "", request.path)
        endpoint = f"{request.method} {re.sub(r'/containers/(?!json|create)[^/]+', '/containers/ID', path)}"
        self.endpoints.append(endpoint)
        if endpoint == self.faulty:
            if self.skipped == 0:
                return await self.fault(request)
            self.skipped -= 1
        answer = self._sound.get(endpoint)
        if answer is None or (not self.exists and "/ID" in endpoint):
            return said({"message": "no such thing"}, 404)
        return await answer(request)

    async def _list(self, _request: web.Request) -> web.StreamResponse:
        return said([self._listed()] if self.exists and self.is_listed else [])

    async def _create(self, _request: web.Request) -> web.StreamResponse:
        self.exists = True
        return said({"Id": CONTAINER, "Warnings": []}, 201)

    async def _show(self, _request: web.Request) -> web.StreamResponse:
        return said(self._shown())

    async def _log(self, _request: web.Request) -> web.StreamResponse:
        return output("tmppool-42\n")

    async def _wait(self, _request: web.Request) -> web.StreamResponse:
        if self.runs:
            await self.ended.wait()
        return said({"StatusCode": 3})

    async def _delete(self, _request: web.Request) -> web.StreamResponse:
        self.exists = False
        self.ended.set()
        return web.Response(status=204)

    def _listed(self) -> dict[str, object]:
        mine = {**labels(SPEC), "tmppool.key": KEY, "tmppool.uid": "7"}
        return {"Id": CONTAINER, "State": "running" if self.runs else "exited", "Labels": mine}

    def _shown(self) -> dict[str, object]:
        return {
            "Id": CONTAINER,
            "Name": f"/{self.name}",
            "Created": "2026-01-01T00:00:00.123456789Z",
            "Config": {"Env": ["JUPYTER_TOKEN=t"], "Labels": self._listed()["Labels"]},
            "State": {"Running": self.runs, "Pid": 1, "ExitCode": 3},
            "HostConfig": {"NetworkMode": network_name(SPEC)},
            "NetworkSettings": {"Networks": {network_name(SPEC): {"IPAddress": "127.0.0.1"}}},
        }


@pytest.fixture
async def ill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OneContainer]:
    notebook = web.Application()
    notebook.router.add_route("*", "/{rest:.*}", answering("{}"))
    runner = web.AppRunner(notebook, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made = OneContainer(tmp_path / "engine.sock")
    made.port = runner.addresses[0][1]
    await made.open()
    monkeypatch.setenv("DOCKER_HOST", made.url)
    monkeypatch.setattr(engine, "Backoff", lambda **_times: Backoff(first=0.001, cap=0.001))
    monkeypatch.setattr(engine, "_CONFIRM", 0.0)
    monkeypatch.setattr(docker_module, "_EXIT_GRACE", 0.1)
    yield made
    await made.close()
    await runner.cleanup()


LIMITS = (
    "PING_TIMEOUT", "RENAME_TIMEOUT", "PULSE_TIMEOUT", "LIST_TIMEOUT", "CREATE_TIMEOUT", "DELETE_TIMEOUT",
    "COPY_TIMEOUT",
)  # fmt: skip

# The verbs. Each is prepared with a sound engine, and given what then is to be done with an ill one.

Work = Callable[[], Awaitable[object]]


async def nothing() -> None:
    """Do nothing: all of it is in what ``prepared`` opens."""


async def listen(backend: DockerBackend) -> None:
    """Listen for deaths for a while; what ends the listening is raised."""

    async def hear() -> None:
        async for _ in backend.deaths():
            await asyncio.sleep(0.01)

    hearing = asyncio.ensure_future(hear())
    await asyncio.wait({hearing}, timeout=0.15)
    hearing.cancel()
    await asyncio.wait({hearing})
    if not hearing.cancelled():
        hearing.result()


async def prepared(ill: OneContainer, verb: str, made: DockerBackend) -> Work:
    ill.reset()
    if verb == "open":
        return made.open
    await made.open()
    ill.reset(exists=verb not in ("start", "start that ends at once"), is_listed=verb != "look for")
    ill.runs = verb not in ("start that ends at once", "list remains")
    works: dict[str, Work] = {
        "start": lambda: made.start(KEY, made.edition),
        "start that ends at once": lambda: made.start(KEY, made.edition),
        "give": lambda: made.give(KEY),
        "stop": lambda: made.stop(KEY),
        "list": made.list,
        "list remains": made.list,
        "look for": lambda: made.list([KEY]),
        "ping": made.ping,
        "deaths": lambda: listen(made),
        "close": made.close,
        "has image": lambda: engine.has_image("some:image"),
        "answers": engine.answers,
    }
    return works[verb]


VERBS = (
    "open", "start", "start that ends at once", "give", "stop", "list", "list remains", "look for", "ping", "deaths",
    "close", "has image", "answers",
)  # fmt: skip


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Wait for no answer longer than 0.1 s; a sound engine that prepares the work has its time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in LIMITS:
            patch.setattr(engine, name, 0.1)
        yield


async def attempt(ill: OneContainer, verb: str, faulty: str = "", fault: str = "500", skipped: int = 0) -> set[str]:
    """Run a verb with one endpoint ill; returns what it asked. Any error but the promised ones is the test's."""
    port = 1 if verb == "start that ends at once" else ill.port
    made = DockerBackend(replace(SPEC, port=port))
    try:
        work = await prepared(ill, verb, made)
        ill.faulty, ill.fault, ill.skipped = faulty, FAULTS[fault], skipped
        try:
            with impatient():
                async with asyncio.timeout(10):
                    await work()
        except (BackendError, ImageError) as error:
            if "\n" in str(error) or (isinstance(error, ImageError) and verb != "open"):
                pytest.fail(f"{verb}: {error!r} with {fault} at {faulty}")
        except TimeoutError:
            pytest.fail(f"{verb}: no end within 10 s with {fault} at {faulty}")
    finally:
        ill.faulty = ""
        ill.ended.set()
        await made.close()
    return set(ill.endpoints)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", VERBS)
async def test_nothing_foreign_passes_the_seam(ill: OneContainer, verb: str, fault: str) -> None:
    with capture_logs():
        asked = await attempt(ill, verb)
        for endpoint in sorted(asked):
            for skipped in (0, 1):
                await attempt(ill, verb, endpoint, fault, skipped)


@pytest.mark.parametrize(
    ("verb", "endpoints"),
    [
        (
            "open",
            {
                "GET /info",
                "GET /images/some:image/json",
                "POST /containers/create",
                "DELETE /containers/ID",
                "GET /containers/ID/archive",
                "PUT /containers/ID/archive",
            },
        ),
        ("start", {"POST /containers/create", "POST /containers/ID/start", "POST /containers/ID/wait"}),
        ("start that ends at once", {"GET /containers/ID/logs", "DELETE /containers/ID"}),
        ("give", {"POST /containers/ID/rename"}),
        ("stop", {"DELETE /containers/ID"}),
        ("list", {"GET /containers/json", "GET /containers/ID/json"}),
        ("list remains", {"GET /containers/ID/json", "GET /events", "DELETE /containers/ID"}),
        ("look for", {"GET /containers/ID/json"}),
        ("ping", {"GET /containers/json"}),
        ("deaths", {"GET /events"}),
    ],
)
async def test_the_verbs_ask_what_the_faults_are_tried_on(ill: OneContainer, verb: str, endpoints: set[str]) -> None:
    with capture_logs():
        assert endpoints <= await attempt(ill, verb)


async def test_a_start_whose_watch_breaks_is_no_exit(ill: OneContainer) -> None:
    """The container runs: that the engine hung up says nothing about it."""
    made = DockerBackend(replace(SPEC, port=1))
    await made.open()
    ill.reset()
    ill.faulty, ill.fault = "POST /containers/ID/wait", hang_up
    with capture_logs(), pytest.raises(BackendError, match=r"did not answer when asked to wait for a container$"):
        await made.start(KEY, made.edition)
    assert json.dumps(ill.endpoints).count("DELETE") >= 1
    await made.close()


async def test_what_a_failed_start_left_is_removed_once_the_engine_answers(ill: OneContainer) -> None:
    made = DockerBackend(replace(SPEC, port=1))
    await made.open()
    ill.reset()
    ill.runs = False
    sound, ill._sound["DELETE /containers/ID"] = ill._sound["DELETE /containers/ID"], hang_up
    with capture_logs() as logs, pytest.raises(BackendError):
        await made.start(KEY, made.edition)
    assert "start.cleanup_failed" in [line["event"] for line in logs]
    ill.runs, ill._sound["DELETE /containers/ID"] = True, sound
    assert ill.exists
    assert await made.list() == []
    async with asyncio.timeout(10):
        while ill.exists:
            await asyncio.sleep(0)
    await made.close()


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_stream_that_does_not_tell_of_the_services_own_start_is_opened_anew(
    ill: OneContainer,
    monkeypatch: pytest.MonkeyPatch,
    is_told: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(docker_module, "_DEAF", 0.3)
    made = DockerBackend(replace(SPEC, port=ill.port))
    heard: list[object] = []

    async def hear() -> None:
        async for said_so in made.deaths():
            heard.append(said_so)  # noqa: PERF401 - without end

    await made.open()
    ill.reset()
    hearing = asyncio.ensure_future(hear())
    with capture_logs() as logs:
        await until(lambda: ill.streams)
        await made.start(KEY, made.edition)
        if is_told:
            ill.streams[0].put_nowait(died(KEY) | {"Action": "start"})
            await asyncio.sleep(0.5)
            assert heard == []
        else:
            await until(lambda: len(ill.streams) == 2)
            assert set(heard) == {None}  # what has happened meanwhile is looked for
        ill.streams[-1].put_nowait(died(KEY))
        await until(lambda: heard[-1:] == [KEY])
        hearing.cancel()
        await asyncio.wait({hearing})
        await made.close()
    lost = [line["error"] for line in logs if line["event"] == "engine.events_lost"]
    assert lost == [] if is_told else ["the engine did not tell what happened"]
