"""Measures of a pool on a Docker Engine: clicks, starts, and the CPU and memory of an idle service."""

import asyncio
import contextlib
import math
import re
import time
from collections.abc import AsyncIterator, Sequence
from html import unescape

import aiohttp

from benchmarks.containers import need_engine
from benchmarks.options import Options
from benchmarks.procs import BenchError, cpu, resident
from benchmarks.service import Service, service
from benchmarks.table import OURS, Bar, Row

_FIELD = re.compile(r'name="ticket"[^>]*value="([^"]+)"|value="([^"]+)"[^>]*name="ticket"')


def _warm(options: Options, size: int, *more: str) -> contextlib.AbstractAsyncContextManager[Service]:
    return service(options.home, "docker", f"--image={options.image}", f"--pool-size={size}", *more)


async def click(options: Options) -> AsyncIterator[Row]:
    """Measure from POST /spawn to its 303, with warm notebooks: visitors one after another, then all at once.

    Each visitor has their own cookies, and first GETs the launch page for the ticket, which is not timed. The assigned
    notebooks start their kernels meanwhile, as for people. At the end every notebook's version is requested with the
    cookie of its 303, without which it does not open.
    """
    await need_engine(options.image)
    clickers, clicks = options.counts.clickers, options.counts.clicks
    times: list[float] = []
    async with _warm(options, clickers) as ours:
        for number in range(options.counts.series):
            await _refill(options, ours)
            options.say(f"click: {clicks} visitors one after another, {number + 1} of {options.counts.series}")
            for _ in range(clicks):
                async with _visitor() as visitor:
                    times.append((await _click(ours, visitor, await _ticket(ours, visitor)))[0])
            await ours.end_sessions()
        await _refill(options, ours)
        options.say(f"click: {clickers} visitors at once")
        each, total, served = await _at_once(ours, clickers)
    yield _row("click to 303, p50", "ms", _percentile(times, 50))
    yield _row("click to 303, p95", "ms", _percentile(times, 95), Bar(150, at_least=False))
    yield _row(f"{clickers} clicks at once, p95", "ms", _percentile(each, 95))
    yield _row(f"{clickers} clicks at once, all served", "ms", total)
    opened = _row(f"{clickers} clicks at once, different notebooks that open", "notebooks", served, Bar(clickers))
    opened.wanted = clickers
    yield opened


async def _refill(options: Options, ours: Service) -> None:
    options.say(f"click: until {options.counts.clickers} are warm")
    await ours.until(warm=options.counts.clickers, within=time.monotonic() - ours.born + 240)


def _row(measure: str, unit: str, value: float, bar: Bar | None = None) -> Row:
    return Row(measure, unit, bar, samples={OURS: [value]})


def _percentile(values: Sequence[float], percent: float) -> float:
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _visitor() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def _ticket(ours: Service, visitor: aiohttp.ClientSession) -> str:
    """GET the launch page; return the ticket in its form."""
    async with visitor.get(f"{ours.url}/spawn") as reply:
        found = _FIELD.search(await reply.text())
    if found is None:
        raise BenchError(f"the launch page has no ticket ({reply.status})")
    return unescape(found[1] or found[2])


async def _click(ours: Service, visitor: aiohttp.ClientSession, ticket: str) -> tuple[float, str]:
    """POST the form; return the milliseconds until the 303, and its Location."""
    since = time.perf_counter()
    async with visitor.post(f"{ours.url}/spawn", data={"ticket": ticket}, allow_redirects=False) as reply:
        took = (time.perf_counter() - since) * 1000
        if reply.status != 303:
            raise BenchError(f"a click was answered with {reply.status}")
        return took, reply.headers["Location"]


async def _at_once(ours: Service, clickers: int) -> tuple[list[float], float, int]:
    """Let visitors click at the same moment.

    Return the milliseconds of each, the milliseconds until the last was served, and the number of different notebooks
    that open for their visitors.
    """
    async with contextlib.AsyncExitStack() as stack:
        visitors = [await stack.enter_async_context(_visitor()) for _ in range(clickers)]
        tickets = [await _ticket(ours, visitor) for visitor in visitors]
        since = time.perf_counter()
        pairs = zip(visitors, tickets, strict=True)
        found = await asyncio.gather(*(_click(ours, visitor, ticket) for visitor, ticket in pairs))
        total = (time.perf_counter() - since) * 1000
        opened = set()
        for visitor, (_, location) in zip(visitors, found, strict=True):
            base_path = "/".join(location.split("/")[:3])
            if await _opens(visitor, f"{ours.url}{base_path}/api"):
                opened.add(base_path)
        return [each for each, _ in found], total, len(opened)


async def _opens(visitor: aiohttp.ClientSession, url: str) -> bool:
    async with visitor.get(url) as reply:
        return reply.status == 200 and "version" in await reply.text()


async def starts(options: Options) -> AsyncIterator[Row]:
    """Measure notebooks per second from the service's start until all are warm, by --parallel-starts."""
    await need_engine(options.image)
    started = options.counts.started
    rows = {ways: Row(f"starts, {ways} at once", "notebooks/s") for ways in options.counts.parallel_starts}
    default = Row("starts, as many at once as by default", "notebooks/s", Bar(1.5))
    for number in range(min(options.rounds, 3)):
        for ways, row in [(None, default), *rows.items()]:
            option = [] if ways is None else [f"--parallel-starts={ways}"]
            async with _warm(options, started, *option) as ours:
                took = await ours.until(warm=started, within=180)
            row.add(OURS, started / took)
            options.say(f"starts: round {number + 1}, {ways or 'default'} at once: {took:.1f} s for {started}")
    for row in (default, *rows.values()):
        yield row


async def idle(options: Options) -> AsyncIterator[Row]:
    """Measure the resident memory and CPU of the service itself with warm notebooks and no visitor."""
    await need_engine(options.image)
    idlers, watched = options.counts.idlers, options.counts.watched
    async with _warm(options, idlers) as ours:
        options.say(f"idle: until {idlers} are warm")
        await ours.until(warm=idlers, within=240)
        await asyncio.sleep(options.counts.settle)
        options.say(f"idle: {watched:.0f} s of nothing")
        used, since = cpu(ours.pid), time.monotonic()
        await asyncio.sleep(watched)
        percent = (cpu(ours.pid) - used) / (time.monotonic() - since) * 100
        memory = resident(ours.pid)
    yield _row(f"memory with {idlers} warm", "MiB", memory, Bar(100, at_least=False))
    used_cpu = _row(f"CPU with {idlers} warm and no visitor", "% of a core", percent, Bar(1.0, at_least=False))
    used_cpu.may_be_zero = True  # the CPU time of one second may be below the kernel's clock tick
    yield used_cpu
