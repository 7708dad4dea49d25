"""The pool on a Docker engine: clicks, starts, and what an idle service costs."""

import asyncio
import contextlib
import math
import re
import time
from collections.abc import AsyncIterator, Sequence
from html import unescape

import aiohttp

from benchmarks.options import Options
from benchmarks.procs import BenchError, cpu, resident
from benchmarks.service import Service, need_engine, service
from benchmarks.table import OURS, Bar, Row

_CLICKERS = 50  # visitors at once, and the pool that they find
_CLICKS = 40  # one after another, twice
_STARTED = 20  # notebooks of the pool whose start is timed
_WAYS = (2, 4, 6)  # --parallel-starts that are compared
_IDLERS = 30  # warm notebooks while nobody is there
_WATCHED = 30.0  # seconds of idling
_SETTLE = 5.0  # seconds for what a start leaves running
_FIELD = re.compile(r'name="ticket"[^>]*value="([^"]+)"|value="([^"]+)"[^>]*name="ticket"')


def _warm(options: Options, size: int, *more: str) -> contextlib.AbstractAsyncContextManager[Service]:
    return service(options.home, "docker", f"--image={options.image}", f"--pool-size={size}", *more)


async def click(options: Options) -> AsyncIterator[Row]:
    """POST /spawn to its 303, with warm notebooks: one visitor after another, then 50 at once.

    Each visitor looks at the launch page first, for cookie and ticket; that is not timed. Kernels of the notebooks
    given away start meanwhile, as they do for people.
    """
    await need_engine(options.image)
    times: list[float] = []
    async with _warm(options, _CLICKERS) as ours:
        for number in range(2):
            await _refill(options, ours)
            options.say(f"click: {_CLICKS} visitors one after another, {number + 1} of 2")
            for _ in range(_CLICKS):
                async with _visitor() as visitor:
                    times.append((await _click(ours, visitor, await _look(ours, visitor)))[0])
            await ours.end_sessions()
        await _refill(options, ours)
        options.say(f"click: {_CLICKERS} visitors at once")
        found, total = await _at_once(ours)
        served = await _answering(ours, {location for _, location in found})
    yield _row("click to 303, p50", "ms", _percentile(times, 50))
    yield _row("click to 303, p95", "ms", _percentile(times, 95), Bar(150, at_least=False))
    yield _row(f"{_CLICKERS} clicks at once, p95", "ms", _percentile([each for each, _ in found], 95))
    yield _row(f"{_CLICKERS} clicks at once, all served", "ms", total)
    yield _row(f"{_CLICKERS} clicks at once, notebooks that answer", "notebooks", served, Bar(_CLICKERS))


async def _refill(options: Options, ours: Service) -> None:
    options.say(f"click: until {_CLICKERS} are warm")
    await ours.until(warm=_CLICKERS, within=time.monotonic() - ours.born + 240)


def _row(measure: str, unit: str, value: float, bar: Bar | None = None) -> Row:
    return Row(measure, unit, bar, samples={OURS: [value]})


def _percentile(values: Sequence[float], percent: float) -> float:
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _visitor() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def _look(ours: Service, visitor: aiohttp.ClientSession) -> str:
    """Open the launch page; returns the ticket in its form."""
    async with visitor.get(f"{ours.url}/spawn") as reply:
        found = _FIELD.search(await reply.text())
    if found is None:
        raise BenchError(f"the launch page has no ticket ({reply.status})")
    return unescape(found[1] or found[2])


async def _click(ours: Service, visitor: aiohttp.ClientSession, ticket: str) -> tuple[float, str]:
    """Press the button; returns the milliseconds it took and where it led."""
    since = time.perf_counter()
    async with visitor.post(f"{ours.url}/spawn", data={"ticket": ticket}, allow_redirects=False) as reply:
        took = (time.perf_counter() - since) * 1000
        if reply.status != 303:
            raise BenchError(f"a click was answered with {reply.status}")
        return took, reply.headers["Location"]


async def _at_once(ours: Service) -> tuple[list[tuple[float, str]], float]:
    """Return each visitor's time and notebook, and the milliseconds until the last was served."""
    async with contextlib.AsyncExitStack() as stack:
        visitors = [await stack.enter_async_context(_visitor()) for _ in range(_CLICKERS)]
        tickets = [await _look(ours, visitor) for visitor in visitors]
        since = time.perf_counter()
        pairs = zip(visitors, tickets, strict=True)
        found = await asyncio.gather(*(_click(ours, visitor, ticket) for visitor, ticket in pairs))
        return list(found), (time.perf_counter() - since) * 1000


async def _answering(ours: Service, locations: set[str]) -> int:
    """Return how many different notebooks answer where visitors were sent."""
    bases = {f"{ours.url}{'/'.join(location.split('/')[:3])}/api" for location in locations}
    answers = 0
    async with aiohttp.ClientSession() as session:
        for base in bases:
            async with session.get(base) as reply:
                answers += reply.status == 200 and "version" in await reply.text()
    return answers


async def starts(options: Options) -> AsyncIterator[Row]:
    """Notebooks per second from the service's start until all of 20 are warm, by how many start at once."""
    await need_engine(options.image)
    rows = {ways: Row(f"starts, {ways} at once", "notebooks/s") for ways in _WAYS}
    default = Row("starts, as many at once as by default", "notebooks/s", Bar(1.5))
    for number in range(min(options.rounds, 3)):
        for ways, row in [(None, default), *rows.items()]:
            option = [] if ways is None else [f"--parallel-starts={ways}"]
            async with _warm(options, _STARTED, *option) as ours:
                took = await ours.until(warm=_STARTED, within=180)
            row.add(OURS, _STARTED / took)
            options.say(f"starts: round {number + 1}, {ways or 'default'} at once: {took:.1f} s for {_STARTED}")
    for row in (default, *rows.values()):
        yield row


async def idle(options: Options) -> AsyncIterator[Row]:
    """The service's own resident memory and CPU with 30 warm and nobody there."""
    await need_engine(options.image)
    async with _warm(options, _IDLERS) as ours:
        options.say(f"idle: until {_IDLERS} are warm")
        await ours.until(warm=_IDLERS, within=240)
        await asyncio.sleep(_SETTLE)
        options.say(f"idle: {_WATCHED:.0f} s of nothing")
        used, since = cpu(ours.pid), time.monotonic()
        await asyncio.sleep(_WATCHED)
        percent = (cpu(ours.pid) - used) / (time.monotonic() - since) * 100
        memory = resident(ours.pid)
    yield _row(f"memory with {_IDLERS} warm", "MiB", memory, Bar(100, at_least=False))
    yield _row(f"CPU with {_IDLERS} warm and nobody there", "% of a core", percent, Bar(1.0, at_least=False))
