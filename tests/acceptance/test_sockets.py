"""WebSockets through the service as an operator runs it: large messages held nowhere, and a real kernel's channel."""

import asyncio
import contextlib
import hashlib
import json
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.acceptance.harness import Service, Taken, running
from tests.conftest import Figure
from tmppool.backends.base import DEFAULT_COMMAND

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

MEGABYTE = 2**20
ALLOWED = 2 * MEGABYTE
SIZE = 64 * MEGABYTE
PROTOCOL = "v1.kernel.websocket.jupyter.org"


@contextlib.asynccontextmanager
async def socket_to(url: str, **options: Any) -> AsyncIterator[ClientConnection]:
    known = {"compression": None, "max_size": None, "ping_interval": None}
    async with connect(url.replace("http", "ws", 1), **known | options) as made:
        yield made


# Memory


class Memory:
    """How much more resident memory a service had at its highest than when this was made."""

    def __init__(self, service: Service) -> None:
        assert service.process is not None
        self._proc = Path(f"/proc/{service.process.pid}")
        (self._proc / "clear_refs").write_text("5")  # the peak is counted from now on (proc_pid_clear_refs(5))
        self._before = psutil.Process(service.process.pid).memory_info().rss

    @property
    def growth(self) -> int:
        status = (self._proc / "status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024 - self._before


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    echo = Path(__file__).with_name("echo.py")
    command = f"--command={sys.executable} {echo} {{base_path}} {{port}}"
    async with running(tmp_path, "process", "--pool-size=1", command) as made:
        yield made


async def say(socket: ClientConnection, data: bytes) -> None:
    """Say it and hear it again."""
    sending = asyncio.get_running_loop().create_task(socket.send(data))
    heard = await socket.recv()
    await sending
    assert hashlib.sha256(heard).digest() == hashlib.sha256(data).digest()


async def given(taken: Taken) -> int:
    """Return how many bytes the notebook has sent."""
    async with aiohttp.ClientSession() as session, session.get(taken.at("given")) as reply:
        return int(await reply.text())


async def settled(taken: Taken) -> int:
    """Return how many bytes the notebook has sent, once it can send no more."""
    last = -1
    while (now := await given(taken)) != last:
        last = now
        await asyncio.sleep(0.5)
    return now


async def test_a_message_of_64_megabytes_each_way_takes_no_more_than_2_of_memory(
    service: Service, figure: Figure
) -> None:
    taken = await service.spawn()
    async with socket_to(taken.at("echo")) as socket:
        await say(socket, bytes(MEGABYTE))
        memory = Memory(service)
        await say(socket, bytes(range(256)) * (SIZE // 256))
        growth = memory.growth
    figure("memory for a WebSocket message of 64 MiB each way", growth / MEGABYTE, "MiB", at_most=2)


async def test_sixteen_thousand_fragments_take_no_more(service: Service) -> None:
    taken = await service.spawn()
    async with socket_to(taken.at("echo")) as socket:
        await say(socket, bytes(MEGABYTE))
        memory = Memory(service)
        parts = [b"%05d" % number * 100 for number in range(16_384)]
        sending = asyncio.get_running_loop().create_task(socket.send(parts))
        heard = [part async for part in socket.recv_streaming()]
        await sending
        assert b"".join(heard) == b"".join(parts)
    assert memory.growth <= ALLOWED, f"{memory.growth / MEGABYTE:.2f} MB"


async def test_a_notebooks_512_megabytes_wait_for_a_visitor_who_reads_slowly(service: Service) -> None:
    taken = await service.spawn()
    async with socket_to(taken.at("echo")) as socket:
        await say(socket, bytes(MEGABYTE))
    memory = Memory(service)
    size = 512 * MEGABYTE
    async with socket_to(taken.at(f"flood?size={size}"), max_size=2 * size) as socket:
        socket.transport.pause_reading()
        waiting = await settled(taken)
        assert waiting < 64 * MEGABYTE  # what the machine's own socket buffers hold
        socket.transport.resume_reading()
        await asyncio.sleep(0.1)
        socket.transport.pause_reading()
        assert waiting < await settled(taken) < size
        socket.transport.abort()
    assert memory.growth <= ALLOWED, f"{memory.growth / MEGABYTE:.2f} MB"


@pytest.mark.parametrize("size", [2**40, 2**63 - 1], ids=["a terabyte", "all there is"])
async def test_a_frame_that_is_announced_and_never_comes_takes_nothing(service: Service, size: int) -> None:
    taken = await service.spawn()
    async with socket_to(taken.at("echo")) as socket:
        await say(socket, bytes(MEGABYTE))
    memory = Memory(service)
    async with contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(socket_to(taken.at("echo"), close_timeout=0.1)) for _ in range(20)]
        before = await given(taken)
        for socket in sockets:
            socket.transport.write(b"\x82\xff" + struct.pack("!Q", size) + b"mask" + bytes(1000))
        async with asyncio.timeout(10):
            while await given(taken) < before + 20 * 1000:
                await asyncio.sleep(0.05)
        for socket in sockets:
            socket.transport.abort()
    assert memory.growth <= ALLOWED, f"{memory.growth / MEGABYTE:.2f} MB"


# A real kernel


def packed(channel: str, kind: str, content: dict[str, Any]) -> bytes:
    """Return a message as the protocol frames it: how many offsets, the offsets, the parts (Jupyter Server docs)."""
    header = {
        "msg_id": uuid4().hex,
        "msg_type": kind,
        "username": "",
        "session": uuid4().hex,
        "date": "",
        "version": "5.3",
    }
    parts = [channel.encode(), *(json.dumps(part).encode() for part in (header, {}, {}, content))]
    count = len(parts) + 1
    offsets = [8 * (count + 1)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{count + 1}Q", count, *offsets) + b"".join(parts)


def unpacked(data: bytes) -> tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return channel, header, parent header and content."""
    (count,) = struct.unpack_from("<Q", data)
    offsets = struct.unpack_from(f"<{count}Q", data, 8)
    channel, header, parent, _, content = (data[offsets[at] : offsets[at + 1]] for at in range(5))
    return channel.decode(), json.loads(header), json.loads(parent), json.loads(content)


async def executed(socket: ClientConnection, code: str) -> str:
    """Execute code; return what it printed."""
    request = packed("shell", "execute_request", {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True})  # fmt: skip
    await socket.send(request)
    _, asked, _, _ = unpacked(request)
    printed = []
    while True:
        data = await socket.recv()
        assert isinstance(data, bytes)
        channel, header, parent, content = unpacked(data)
        if parent.get("msg_id") != asked["msg_id"]:
            continue
        if header["msg_type"] == "stream":
            printed.append(content["text"])
        elif (channel, header["msg_type"]) == ("iopub", "status") and content["execution_state"] == "idle":
            return "".join(printed)


CONFIG = """
c.ServerApp.allow_root = True
c.ServerApp.websocket_compression_options = {}
c.ZMQChannelsWebsocketConnection.limit_rate = False
"""


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_a_cell_of_a_real_kernel_prints_20_megabytes(tmp_path: Path, compression: str | None) -> None:
    (tmp_path / "config.py").write_text(CONFIG)
    command = f"--command={DEFAULT_COMMAND} --config={tmp_path}/config.py"
    async with running(tmp_path, "process", "--pool-size=1", command) as service:
        taken = await service.spawn()
        async with aiohttp.ClientSession() as session, session.post(taken.at("api/kernels")) as reply:
            assert reply.status == 201, await reply.text()
            kernel = (await reply.json())["id"]
        channels = taken.at(f"api/kernels/{kernel}/channels")
        async with socket_to(channels, subprotocols=[PROTOCOL], compression=compression) as socket:
            assert socket.subprotocol == PROTOCOL
            assert [extension.name for extension in socket.protocol.extensions] == ["permessage-deflate"] * bool(
                compression
            )
            printed = await executed(socket, "for number in range(20): print(chr(97 + number) * (2**20 - 1))")
            wanted = "".join(chr(97 + number) * (MEGABYTE - 1) + "\n" for number in range(20))
            assert len(printed) == 20 * MEGABYTE
            assert printed == wanted
