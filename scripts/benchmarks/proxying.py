"""The proxy beside nginx and configurable-http-proxy: requests, WebSockets, long bodies.

Every contender stands before the same upstream, runs for the whole measure, and takes its turn in every round. "Per
CPU-second" divides by what the contender's process used, so it says what one core could do whatever else runs here.
"""

import asyncio
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp

from benchmarks.options import Options
from benchmarks.peers import Front, Fronts, in_front_of
from benchmarks.procs import BenchError, Peak, cpu, rate
from benchmarks.sockets import Client, PingPong, Pour, Upload, connected, handshake, request
from benchmarks.table import Bar, Row
from benchmarks.upstream_files import SIZE

_CONNECTIONS = 32  # of wrk
_SOCKETS = 64  # WebSockets of the ping-pong
_BULK_SOCKETS = 4
_WARM_UP = 0.5  # seconds before counting
_PAUSE = 0.3  # seconds between two turns, for what the last one left
_BODY = 10**9  # bytes of a long body
_PATIENCE = 60.0  # seconds for one of them
_STALL = 3.0  # seconds for which a client does not read
_MB = 1e6

Move = Callable[[Front, Fronts], Awaitable[None]]


async def http(options: Options) -> AsyncIterator[Row]:
    """1 kB by plain HTTP: wrk with one thread and 32 connections that are kept."""
    if shutil.which("wrk") is None:
        raise BenchError("wrk is not installed")
    per_second = Row("HTTP, 1 kB", "req/s", Bar(1.5, "chp"))
    per_core = Row("HTTP, 1 kB, of the proxy", "req/CPU-s")
    async with in_front_of("upstream_files.py", options.home, options.chp) as fronts:
        async for front in _turns(options, fronts, "http", per_second, per_core):
            url = f"http://127.0.0.1:{front.port}{fronts.base_path}k1"
            await _check(front, url, fronts.cookie)
            used = cpu(front.pid)
            requests, seconds = await _wrk(url, fronts.cookie, options.seconds)
            per_second.add(front.name, requests / seconds)
            if front.pid is not None:
                per_core.add(front.name, requests / (cpu(front.pid) - used))
            options.say(f"{requests / seconds:,.0f} req/s")
    yield per_second
    yield per_core


async def _check(front: Front, url: str, cookie: str) -> None:
    """Raise BenchError unless this is what the upstream serves."""
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Cookie": cookie}) as reply:
        if reply.status != 200 or len(await reply.read()) != SIZE:
            raise BenchError(f"{front.name} does not serve the file: {reply.status}")


async def _wrk(url: str, cookie: str, seconds: float) -> tuple[int, float]:
    """Return requests that were answered, and in what time."""
    command = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{max(1, round(seconds))}s", f"-HCookie: {cookie}", url]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        out = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", out)
    if found is None or "Non-2xx" in out or "Socket errors" in out:
        raise BenchError(f"wrk failed on some requests: {' / '.join(out.splitlines()[-4:])}")
    return int(found[1]), float(found[2]) * {"ms": 0.001, "s": 1, "m": 60}[found[3]]


async def _turns(options: Options, fronts: Fronts, what: str, *rows: Row) -> AsyncIterator[Front]:
    """Every contender once a round, and a note of those that are missing."""
    for row in rows:
        row.missing.update(fronts.missing)
    for number in range(options.rounds):
        for front in fronts.fronts:
            options.say(f"{what}: round {number + 1} of {options.rounds}, {front.name}: ", end="")
            yield front
            await asyncio.sleep(_PAUSE)


async def websocket(options: Options) -> AsyncIterator[Row]:
    """Ping-pong of 200 bytes of text on 64 WebSockets; bulk of 64 KiB binary frames on four, either way.

    Ping-pong and what the visitor pours run where tmppool reads the frames' headers, as it does for kernels.
    """
    kinds = [
        ("WebSocket ping-pong", "msg", "api/kernels/echo/channels", PingPong, _SOCKETS, 1.0, Bar(1.0, "nginx")),
        ("WebSocket bulk to visitor", "MB", "bulk", Client, _BULK_SOCKETS, _MB, Bar(2.0, "nginx")),
        ("WebSocket bulk to notebook", "MB", "api/kernels/sink/channels", Pour, _BULK_SOCKETS, _MB, Bar(2.0, "nginx")),
    ]
    async with in_front_of("upstream_sockets.py", options.home, options.chp) as fronts:
        for name, unit, path, kind, sockets, scale, bar in kinds:
            per_second, per_core = Row(name, f"{unit}/s"), Row(f"{name}, of the proxy", f"{unit}/CPU-s", bar)
            async for front in _turns(options, fronts, name, per_second, per_core):
                clients = [kind(handshake(front.port, fronts.base_path + path, fronts.cookie)) for _ in range(sockets)]
                done, each = await _count(front, clients, options.seconds)
                per_second.add(front.name, done / scale)
                if front.pid is not None:
                    per_core.add(front.name, each / scale)
                options.say(f"{done / scale:,.0f} {unit}/s")
            yield per_core
            yield per_second


async def _count(front: Front, clients: list[Client], seconds: float) -> tuple[float, float]:
    async with connected(front.port, clients):
        for client in clients:
            client.push()
        await asyncio.sleep(_WARM_UP)
        found = await rate(lambda: sum(client.count for client in clients), front.pid, seconds)
        if any(client.is_lost for client in clients):
            raise BenchError(f"{front.name} broke off a WebSocket")
        return found


async def stream(options: Options) -> AsyncIterator[Row]:
    """1 GB down and 1 GB up in one request each, and a client that stops reading: speed, and growth of memory."""
    kinds: list[tuple[str, Move]] = [("1 GB to visitor", _download), ("1 GB to notebook", _upload)]
    async with in_front_of("upstream_sockets.py", options.home, options.chp) as fronts:
        for name, move in kinds:
            speed, growth = (
                Row(name, "MB/s"),
                Row(f"{name}: growth of memory", "MiB", Bar(64, at_least=False), worst=True),
            )
            async for front in _turns(options, fronts, name, speed, growth):
                await _one_body(options, front, fronts, move, speed, growth)
            yield speed
            yield growth
        stalled = Row("visitor stops reading: growth of memory", "MiB", Bar(64, at_least=False), worst=True)
        async for front in _turns(options, fronts, "a visitor stops reading", stalled):
            async with Peak(front.pid) as peak:
                await _stalled(front, fronts)
            if front.pid is not None:
                stalled.add(front.name, peak.growth)
            options.say(f"{peak.growth:.1f} MiB")
        yield stalled


async def _one_body(options: Options, front: Front, fronts: Fronts, move: Move, speed: Row, growth: Row) -> None:
    since = time.monotonic()
    async with Peak(front.pid) as peak:
        await move(front, fronts)
    mb_per_second = _BODY / _MB / (time.monotonic() - since)
    speed.add(front.name, mb_per_second)
    if front.pid is not None:
        growth.add(front.name, peak.growth)
    options.say(f"{mb_per_second:,.0f} MB/s, {peak.growth:.1f} MiB")


async def _download(front: Front, fronts: Fronts) -> None:
    client = Client(request("GET", front.port, f"{fronts.base_path}download?{_BODY}", fronts.cookie))
    async with connected(front.port, [client]):
        await client.until(_BODY, _PATIENCE)


async def _upload(front: Front, fronts: Fronts) -> None:
    head = request("POST", front.port, f"{fronts.base_path}upload", fronts.cookie, b"Content-Length: %d\r\n" % _BODY)
    client = Upload(head, _BODY)
    async with connected(front.port, [client], opened=False):
        client.push()
        await client.until(len(b"{}"), _PATIENCE)


async def _stalled(front: Front, fronts: Fronts) -> None:
    client = Client(request("GET", front.port, f"{fronts.base_path}download?{_BODY}", fronts.cookie))
    async with connected(front.port, [client]):
        client.transport.pause_reading()
        await asyncio.sleep(_STALL)
