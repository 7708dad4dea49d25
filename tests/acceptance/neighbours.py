"""Healthy visitors beside a hostile one: how long their requests take, quiet and under attack."""

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp

from tests.acceptance.harness import Service

PAUSE = 0.02  # seconds between two requests
ASKED = ("lab/tree/welcome.ipynb", "api/contents/welcome.ipynb", "api/status")
"""What a page that is opened asks for: itself, its document, and how its server is."""


@dataclass(frozen=True)
class Guest:
    """One taken notebook, as a program holds it."""

    url: str
    headers: dict[str, str]

    @property
    def key(self) -> str:
        return self.url.rstrip("/").rsplit("/", 1)[1]


async def take(service: Service, session: aiohttp.ClientSession, pool: str | None = None) -> Guest:
    """Take a notebook, waiting while none is warm."""
    address = f"{service.url}/api/spawn" + (f"?pool={pool}" if pool else "")
    async with asyncio.timeout(60):
        while True:
            async with session.post(address) as reply:
                facts = await reply.json()
                if reply.status == 200:
                    headers = {"Authorization": f"token {facts['token']}"} if "token" in facts else {}
                    return Guest(service.url + facts["url"], headers)
            await asyncio.sleep(0.1)


async def ask(session: aiohttp.ClientSession, address: str, failures: list[str]) -> float:
    """Ask once; returns the seconds that it took, and adds what went wrong to ``failures``."""
    began = time.perf_counter()
    try:
        async with session.get(address) as reply:
            await reply.read()
            if reply.status != 200:
                failures.append(str(reply.status))
    except (aiohttp.ClientError, TimeoutError) as error:
        failures.append(repr(error))
    return time.perf_counter() - began


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


@dataclass
class Neighbours:
    """``attacked`` are seconds of every answered request, by attack; ``quiet`` those since the one before, and
    ``before``, by attack, what they were when it began: what else the machine does changes. ``longest`` is the most
    that one took under any attack, in milliseconds. ``failures`` says what went wrong.

    A request that an attack began or ended in is one of the attack's: there a stall shows.
    """

    guests: list[Guest]
    quiet: list[float] = field(default_factory=list)
    before: dict[str, list[float]] = field(default_factory=dict)
    attacked: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    longest: float = 0.0
    doing: str = ""

    @property
    def slower(self) -> dict[str, float]:
        """How many times as long requests took under each attack as before it, at the 95th percentile."""
        return {name: p95([*times, times[-1]]) / p95(self.before[name]) for name, times in self.attacked.items()}

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Ask all the time, each guest in turn."""
        asked = asyncio.create_task(self._ask())
        try:
            yield
        finally:
            asked.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asked

    @contextlib.asynccontextmanager
    async def under(self, attack: str) -> AsyncIterator[None]:
        self.before[attack], self.quiet, self.attacked[attack] = self.quiet, [], []
        self.doing = attack
        try:
            yield
        finally:
            self.doing = ""

    async def _ask(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session:
            while True:
                for guest, path in itertools.product(self.guests, ASKED):
                    await self._ask_one(session, guest, path)
                    await asyncio.sleep(PAUSE)

    async def _ask_one(self, session: aiohttp.ClientSession, guest: Guest, path: str) -> None:
        began, attack = time.perf_counter(), self.doing
        try:
            async with session.get(f"{guest.url}{path}", headers=guest.headers) as reply:
                await reply.read()
                if reply.status != 200:
                    self.failures.append(f"{attack or self.doing}: {path}: {reply.status}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failures.append(f"{attack or self.doing}: {error!r}")
        else:
            attack, taken = attack or self.doing, time.perf_counter() - began
            (self.attacked[attack] if attack else self.quiet).append(taken)
            self.longest = max(self.longest, taken * 1000) if attack else self.longest
