"""What a visitor sees of a WebSocket through the proxy is what he would see of it directly, whatever he sends."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import tornado.web
import tornado.websocket
from tornado.httpserver import HTTPServer
from websockets.asyncio.server import ServerConnection, serve

from tests.proxy.frames import CASES, CLOSE, DROP, Case, Frame, closing, play
from tests.proxy.stage import House, opened
from tests.proxy.test_tunnel import CHANNELS, HANDSHAKE
from tmppool.running import Dial

NO_LIMIT = 2**40
SILENT = logging.getLogger(f"{__name__}.silent")  # the servers log what the cases make them fail of
SILENT.disabled = True


# Two real servers that echo


@contextlib.asynccontextmanager
async def websockets_echo() -> AsyncIterator[int]:
    """Of the library that is kept most carefully to the standard."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(
        echo, "127.0.0.1", 0, compression=None, max_size=None, ping_interval=None, logger=SILENT
    ) as server:
        yield next(iter(server.sockets)).getsockname()[1]


class TornadoEcho(tornado.websocket.WebSocketHandler):
    def check_origin(self, origin: str) -> bool:
        return True

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


@contextlib.asynccontextmanager
async def tornado_echo() -> AsyncIterator[int]:
    """Of the library that Jupyter is built on."""
    server = HTTPServer(tornado.web.Application([("/.*", TornadoEcho)], websocket_max_message_size=NO_LIMIT))
    server.listen(0, "127.0.0.1")
    yield next(iter(server._sockets.values())).getsockname()[1]
    server.stop()
    await server.close_all_connections()


@dataclass
class Both:
    """One server, reached in two ways."""

    kind: str
    port: int
    house: House

    async def play(self, case: Case) -> tuple[list[Frame | str], list[Frame | str]]:
        """Return what is seen directly and what is seen through the proxy."""
        request = self.house.head("GET", CHANNELS, *HANDSHAKE)
        return await asyncio.gather(play(self.port, request, case), play(self.house.port, request, case))


SERVERS: dict[str, Callable[[], AbstractAsyncContextManager[int]]] = {
    "websockets": websockets_echo,
    "tornado": tornado_echo,
}


@pytest.fixture(scope="module")
def patches() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SERVERS)
async def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, patches: pytest.MonkeyPatch
) -> AsyncIterator[Both]:
    state: Path = tmp_path_factory.mktemp("state")
    async with SERVERS[request.param]() as port, opened(state, patches, dial=Dial("127.0.0.1", port)) as house:
        yield Both(request.param, port, house)


# The cases


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_a_visitor_sees_through_the_proxy_what_he_would_see_directly(both: Both, case: Case) -> None:
    directly, through = await both.play(case)
    assert through == directly
    assert through[-1] == DROP
    if both.kind == "websockets":  # it answers as the standard says: the case is the one that it is meant to be
        assert code_of(directly) == case.code


def code_of(seen: list[Frame | str]) -> int | None:
    """Return the code of the close frame; 0 for one without code, None without close frame."""
    return next(
        (int.from_bytes(one.payload[:2], "big") for one in seen if isinstance(one, Frame) and one.opcode == CLOSE), None
    )


@pytest.mark.asyncio(loop_scope="module")
async def test_every_code_of_a_close_is_the_notebooks_to_judge(both: Both) -> None:
    cases = [Case(str(code), lambda code=code: [closing(code, b"because")]) for code in range(1000, 5000, 25)]
    for first in range(0, len(cases), 20):
        for directly, through in await asyncio.gather(*map(both.play, cases[first : first + 20])):
            assert through == directly


def test_there_are_as_many_cases_as_published() -> None:
    groups = [case.name.split(".")[0] for case in CASES]
    counts = {group: groups.count(group) for group in dict.fromkeys(groups)}
    assert counts == {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "half": 7, "many": 2, "9": 54}
