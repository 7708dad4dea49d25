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
    """``quiet`` and ``attacked``, by attack, are seconds of every answered request; ``failures`` says what went wrong."""

    guests: list[Guest]
    quiet: list[float] = field(default_factory=list)
    attacked: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    is_attacked: bool = False
    doing: str = ""

    @property
    def slower(self) -> float:
        """How much longer requests took under attack, at the 95th percentile."""
        return p95([taken for times in self.attacked.values() for taken in times]) / p95(self.quiet)

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
        self.is_attacked, self.doing = True, attack
        try:
            yield
        finally:
            self.is_attacked = False

    async def _ask(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session:
            while True:
                for guest, path in itertools.product(self.guests, ASKED):
                    await self._ask_one(session, guest, path)
                    await asyncio.sleep(PAUSE)

    async def _ask_one(self, session: aiohttp.ClientSession, guest: Guest, path: str) -> None:
        began, was_attacked = time.perf_counter(), self.is_attacked
        try:
            async with session.get(f"{guest.url}{path}", headers=guest.headers) as reply:
                await reply.read()
                if reply.status != 200:
                    self.failures.append(f"{self.doing}: {path}: {reply.status}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failures.append(f"{self.doing}: {error!r}")
        else:
            taken = time.perf_counter() - began
            if was_attacked == self.is_attacked:  # neither half quiet nor half attacked
                (self.attacked.setdefault(self.doing, []) if was_attacked else self.quiet).append(taken)
