"""The end of a service: it says what it waits for, a second signal shortens that, and what stays is named."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from tmppool.errors import BackendError
from tmppool.notebook import State
from tmppool.pools import Pools
from tmppool.tasks import finish, spawn

_SAY = 3.0  # seconds between two lines about what is awaited
_PATIENCE = 60.0  # seconds for the last clean-up of a backend that works
_IMPATIENCE = 1.0  # seconds for that of a backend that could not stop notebooks, and in a hurry

_log = structlog.get_logger("tmppool")


class Leaving:
    """The end of one service. Once ``hurry`` is set, what cannot be stopped at once is left.

    ``hint`` says how an operator removes what was left.
    """

    def __init__(self) -> None:
        self.hurry = asyncio.Event()
        self.hint = "they are processes of this user, as `ps` shows"
        self.left = 0  # notebooks that may still run, although they were to be stopped

    async def close(self, pools: Pools, *, stop: bool) -> None:
        """Close the pools; say every few seconds what is awaited."""
        closing = spawn(pools.close(stop=stop, hurry=self.hurry), "close the pools", awaited=True)
        while True:
            done, _ = await asyncio.wait({closing}, timeout=_SAY)
            if done:
                break
            count = sum(pool.count(State.REAPING) for pool in pools)
            message = "notebooks are being stopped; another signal leaves those that cannot be stopped at once"
            _log.info("stops.awaited", count=count, message=message)
        self.left = closing.result()

    async def clean_up(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do a last work with the backend; give it up soon in a hurry, or if the backend could not stop notebooks."""
        task = spawn(work(), "clean up", awaited=True)
        await asyncio.wait({task}, timeout=_IMPATIENCE)  # also in a hurry: it may close what nobody else closes
        await finish({task}, 0.0 if self.left else _PATIENCE, self.hurry)
        if task.done() and not task.cancelled():
            task.result()

    def check(self, service: str) -> None:
        """Raise BackendError if notebooks of ``service`` stayed."""
        if self.left:
            what = "1 notebook" if self.left == 1 else f"{self.left} notebooks"
            raise BackendError(f"{what} of the service {service!r} could not be stopped and may still run: {self.hint}")
