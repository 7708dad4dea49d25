"""The fake keeps the contract too, and misbehaves when it is told to."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.backends.contract import FAILING, KEY, SERVER, Contract, Site
from tests.specs import spec_of
from tmppool.backends.fake import FakeBackend
from tmppool.errors import BackendError
from tmppool.jupyter import JupyterClient
from tmppool.running import Death, Running


class FakeSite(Site):
    """A fake lives in this process: a later backend is another object, over the notebooks of the earlier one."""

    def __init__(self) -> None:
        self.services: dict[str, FakeBackend] = {}

    async def make(self, service: str = "one", *, command: str = SERVER, start_timeout: float = 20.0) -> FakeBackend:
        del start_timeout
        backend = self.services[service] = FakeBackend(spec_of(), self.services.get(service))
        backend.fail_next = command is FAILING
        await backend.open()
        return backend

    async def kill(self, key: str) -> None:
        await self.services["one"].kill(key, Death.KILLED)

    async def exit(self, running: Running) -> None:
        await self.services["one"].kill(running.key, Death.EXITED)

    async def leftovers(self, key: str) -> list[str]:
        return ["server"] if key in self.services["one"].notebooks else []


@pytest.fixture
async def site() -> AsyncIterator[FakeSite]:
    made = FakeSite()
    yield made
    for backend in made.services.values():
        await backend.end_all()


class TestFake(Contract):
    pass


async def test_it_says_that_no_code_runs_here(backend: FakeBackend) -> None:
    traits = await backend.open()
    assert (traits.isolated, traits.edition) == (False, backend.edition)
    assert traits.notes == ("the fake backend: notebooks do not run any code",)


@pytest.mark.parametrize("verb", ["start", "stop", "list", "ping"])
async def test_every_verb_fails_while_it_is_ill(backend: FakeBackend, verb: str) -> None:
    backend.is_ill = True
    with pytest.raises(BackendError, match=r"^the fake was told to be ill$"):
        await getattr(backend, verb)(*([KEY] if verb in ("start", "stop") else []))


async def test_it_fails_as_often_as_it_was_told(backend: FakeBackend) -> None:
    backend.fail_next = 1
    with pytest.raises(BackendError):
        await backend.start(KEY)
    assert (await backend.start(KEY)).key == KEY


async def test_it_answers_what_the_service_asks_and_keeps_what_was_asked(backend: FakeBackend) -> None:
    running = await backend.start(KEY)
    backend.notebooks[KEY].kernels = [{"execution_state": "busy"}]
    async with JupyterClient(running) as jupyter:
        assert await jupyter.answers()
        assert await jupyter.silent_for() == 0.0
    assert backend.notebooks[KEY].requests == [
        f"GET {running.base_path}api",
        f"GET {running.base_path}api/kernels?no_track_activity=1",
    ]


@pytest.mark.parametrize(("query", "said"), [("", None), ("?buffering=no", "no")])
async def test_it_sends_events_for_as_long_as_somebody_listens(
    backend: FakeBackend, query: str, said: str | None
) -> None:
    running = await backend.start(KEY)
    url = f"http://127.0.0.1:{running.dial.port}{running.base_path}events{query}"
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        assert (reply.content_type, reply.headers.get("X-Accel-Buffering")) == ("text/event-stream", said)
        for number in range(3):
            assert await reply.content.readuntil(b"\n\n") == b"data: %d\n\n" % number
        assert not reply.content.at_eof()


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_it_echoes_what_is_sent(backend: FakeBackend, method: str) -> None:
    running = await backend.start(KEY)
    async with JupyterClient(running) as jupyter:
        url = f"{jupyter.origin}{running.base_path}files/a"
        async with jupyter.session.request(method, url, data=b"\x00\xff" * 1000) as reply:
            assert await reply.read() == b"\x00\xff" * 1000


async def test_it_echoes_websocket_messages(backend: FakeBackend) -> None:
    running = await backend.start(KEY)
    async with (
        JupyterClient(running) as jupyter,
        jupyter.session.ws_connect(f"{jupyter.origin}{running.base_path}api/kernels/1/channels") as socket,
    ):
        await socket.send_str("hello")
        await socket.send_bytes(b"\x00")
        assert [(await socket.receive()).data for _ in range(2)] == ["hello", b"\x00"]


async def test_it_ends_at_once_though_a_websocket_is_open(backend: FakeBackend) -> None:
    running = await backend.start(KEY)
    async with (
        JupyterClient(running) as jupyter,
        jupyter.session.ws_connect(f"{jupyter.origin}{running.base_path}api/kernels/1/channels"),
        asyncio.timeout(5),
    ):
        await backend.kill(KEY)
    assert backend.notebooks == {}
