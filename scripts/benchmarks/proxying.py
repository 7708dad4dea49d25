"""Measures of the proxy, nginx, configurable-http-proxy and a proxy made of aiohttp: requests, WebSockets, long bodies.

All contenders proxy the same upstream, run for the whole measure, and take turns in every round. "Per CPU-second"
divides by the CPU time of the contender's process: the throughput of one core, independent of other load.
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

_BODY_TIMEOUT = 60.0  # seconds for a long body
_MB = 1e6

Move = Callable[[Front, Fronts, int], Awaitable[None]]
"""Transfers a body of the given size in bytes through a contender."""


async def http(options: Options) -> AsyncIterator[Row]:
    """Measure GETs of 1 kB over plain HTTP: wrk with one thread on keep-alive connections."""
    if shutil.which("wrk") is None:
        raise BenchError("wrk is not installed (scripts/packages installs it)")
    per_second = Row("HTTP, 1 kB", "req/s", Bar(1.5, "chp"))
    per_core = Row("HTTP, 1 kB, of the proxy", "req/CPU-s")
    async with in_front_of("upstream_files.py", options.home, options.chp, with_aiohttp=True) as fronts:
        async for front in _turns(options, fronts, "http", per_second, per_core):
            url = f"http://127.0.0.1:{front.port}{fronts.base_path}k1"
            await _check(front, url, fronts.cookie)
            used = cpu(front.pid)
            requests, seconds = await _wrk(url, fronts.cookie, options)
            per_second.add(front.name, requests / seconds)
            if front.pid is not None:
                per_core.add(front.name, requests / (cpu(front.pid) - used))
            options.say(f"{requests / seconds:,.0f} req/s")
    yield per_second
    yield per_core


async def _check(front: Front, url: str, cookie: str) -> None:
    """Raise BenchError unless the contender serves the upstream's file."""
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Cookie": cookie}) as reply:
        if reply.status != 200 or len(await reply.read()) != SIZE:
            raise BenchError(f"{front.name} does not serve the file: {reply.status}")


async def _wrk(url: str, cookie: str, options: Options) -> tuple[int, float]:
    """Return the number of answered requests, and the duration in seconds, as reported by wrk."""
    seconds, connections = max(1, round(options.seconds)), options.counts.connections
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"-HCookie: {cookie}", url]
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
    """Yield every contender once per round; record in the rows which are missing."""
    for row in rows:
        row.missing.update(fronts.missing)
    for number in range(options.rounds):
        for front in fronts.fronts:
            options.say(f"{what}: round {number + 1} of {options.rounds}, {front.name}: ", end="")
            yield front
            await asyncio.sleep(options.counts.pause)  # let the last one's work drain


async def websocket(options: Options) -> AsyncIterator[Row]:
    """Measure ping-pong of 200-byte text messages on many WebSockets, and 64 KiB binary frames on a few, both ways.

    Ping-pong and bulk to the notebook use paths on which tmppool parses frame headers, as for kernels.
    """
    few = options.counts.bulk_sockets
    kinds = [
        (
            "WebSocket ping-pong",
            "msg",
            "api/kernels/echo/channels",
            PingPong,
            options.counts.sockets,
            1.0,
            Bar(1.0, "nginx"),
        ),
        ("WebSocket bulk to visitor", "MB", "bulk", Client, few, _MB, Bar(2.0, "nginx")),
        ("WebSocket bulk to notebook", "MB", "api/kernels/sink/channels", Pour, few, _MB, Bar(2.0, "nginx")),
    ]
    async with in_front_of("upstream_sockets.py", options.home, options.chp) as fronts:
        for name, unit, path, kind, sockets, scale, bar in kinds:
            per_second, per_core = Row(name, f"{unit}/s"), Row(f"{name}, of the proxy", f"{unit}/CPU-s", bar)
            async for front in _turns(options, fronts, name, per_second, per_core):
                clients = [kind(handshake(front.port, fronts.base_path + path, fronts.cookie)) for _ in range(sockets)]
                done, each = await _count(front, clients, options)
                per_second.add(front.name, done / scale)
                if front.pid is not None:
                    per_core.add(front.name, each / scale)
                options.say(f"{done / scale:,.0f} {unit}/s")
            yield per_core
            yield per_second


async def _count(front: Front, clients: list[Client], options: Options) -> tuple[float, float]:
    async with connected(front.port, clients):
        for client in clients:
            client.push()
        await asyncio.sleep(options.counts.warm_up)
        found = await rate(lambda: sum(client.count for client in clients), front.pid, options.seconds)
        if any(client.is_lost for client in clients):
            raise BenchError(f"{front.name} broke off a WebSocket")
        return found


async def stream(options: Options) -> AsyncIterator[Row]:
    """Measure speed and memory growth of a long download, a long upload, and a client that stops reading."""
    size = f"{options.counts.body / 1e9:g} GB"
    kinds: list[tuple[str, Move]] = [(f"{size} to visitor", _download), (f"{size} to notebook", _upload)]
    async with in_front_of("upstream_sockets.py", options.home, options.chp) as fronts:
        for name, move in kinds:
            speed, growth = (
                Row(name, "MB/s"),
                _growth(name),
            )
            async for front in _turns(options, fronts, name, speed, growth):
                await _one_body(options, front, fronts, move, speed, growth)
            yield speed
            yield growth
        stalled = _growth("visitor stops reading")
        async for front in _turns(options, fronts, "a visitor stops reading", stalled):
            async with Peak(front.pid) as peak:
                await _stalled(front, fronts, options)
            if front.pid is not None:
                stalled.add(front.name, peak.growth)
            options.say(f"{peak.growth:.1f} MiB")
        yield stalled


def _growth(name: str) -> Row:
    bar = Bar(64, at_least=False)
    return Row(f"{name}: growth of memory", "MiB", bar, worst=True, may_be_zero=True)


async def _one_body(options: Options, front: Front, fronts: Fronts, move: Move, speed: Row, growth: Row) -> None:
    since = time.monotonic()
    async with Peak(front.pid) as peak:
        await move(front, fronts, options.counts.body)
    mb_per_second = options.counts.body / _MB / (time.monotonic() - since)
    speed.add(front.name, mb_per_second)
    if front.pid is not None:
        growth.add(front.name, peak.growth)
    options.say(f"{mb_per_second:,.0f} MB/s, {peak.growth:.1f} MiB")


async def _download(front: Front, fronts: Fronts, size: int) -> None:
    client = Client(request("GET", front.port, f"{fronts.base_path}download?{size}", fronts.cookie))
    async with connected(front.port, [client]):
        await client.until(size, _BODY_TIMEOUT)


async def _upload(front: Front, fronts: Fronts, size: int) -> None:
    head = request("POST", front.port, f"{fronts.base_path}upload", fronts.cookie, b"Content-Length: %d\r\n" % size)
    client = Upload(head, size)
    async with connected(front.port, [client], opened=False):
        client.push()
        await client.until(len(b"{}"), _BODY_TIMEOUT)


async def _stalled(front: Front, fronts: Fronts, options: Options) -> None:
    client = Client(request("GET", front.port, f"{fronts.base_path}download?{options.counts.body}", fronts.cookie))
    async with connected(front.port, [client]):
        client.transport.pause_reading()
        await asyncio.sleep(options.counts.stall)
