"""Turns for senders of small chunks, or of requests ahead: the cost of these is bounded, for all of them together.

Nobody is refused for them, nor slowed down at the rate of a stream of events. A sender who exceeds it is not read for
the time being, so that their own system holds what they send (back-pressure), and waits in one queue with the others.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from tmppool.proxy.body import Allowance

BURST = 256  # small chunks of one sender that are taken at once: half a millisecond of the loop
_PER_SECOND = 100  # small chunks that a sender gets back: five times what a progress bar or a chat of events sends
_SLICE = 64  # small chunks in one turn, some 130 µs of the loop; or one request
_PAUSE = (
    0.001  # seconds between two turns, whoever has them: with the slice, 15 % of the loop, or 64,000 chunks a second
)


class Turn(Allowance):
    """One sender's place. ``go_on`` is called when it is their turn; they take what waited, and may wait again."""

    __slots__ = ("_go_on", "_turns", "is_awaited")

    def __init__(self, turns: "TurnQueue", go_on: Callable[[], None]) -> None:
        super().__init__(BURST)
        self._turns = turns
        self._go_on = go_on
        self.is_awaited = False

    def wait(self) -> None:
        """Have ``go_on`` called, not sooner than the next turn."""
        self.is_awaited = True
        self._turns.enter(self)

    def leave(self) -> None:
        """Leave the queue."""
        if self.is_awaited:
            self.is_awaited = False
            self._turns.queue.pop(self, None)

    def renew(self) -> None:
        """Give back what one second earns; called once a second."""
        self.remaining = min(BURST, self.remaining + _PER_SECOND)

    def grant(self, size: int) -> None:
        """Go on with at least ``size`` small chunks."""
        self.is_awaited = False
        self.remaining = max(self.remaining, size)
        self._go_on()


class TurnQueue:
    """The turns of one listener. ``queue`` holds those who wait, the one that has waited longest first."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.queue: OrderedDict[Turn, None] = OrderedDict()

    def enter(self, turn: Turn) -> None:
        self.queue[turn] = None
        if self._timer is None:
            self._timer = self._loop.call_later(_PAUSE, self._next)

    def close(self) -> None:
        for turn in list(self.queue):
            turn.leave()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> None:
        self._timer = None
        if self.queue:
            turn, _ = self.queue.popitem(last=False)
            if self.queue:
                self._timer = self._loop.call_later(_PAUSE, self._next)
            turn.grant(_SLICE)
