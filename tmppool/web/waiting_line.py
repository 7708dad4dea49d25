"""The line in front of one pool: first come, first served, and nobody is woken for a notebook that another one gets.

A waiter is asked to go when the pool has a notebook and everybody before it is gone, trying, away or held back. The
next one's turn comes once the first step of that try has taken the notebook out of the table, so that a notebook
becoming warm costs the same however many wait.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from tmppool.errors import Shortage, TmppoolError
from tmppool.notebook import State, Transition
from tmppool.pool import Pool

_MOST = 2_000  # waiters for one pool: 100 times as many as most pools have notebooks, and about 5 MB
_MOST_OF_NETWORK = 200  # the largest class behind one address, and a tenth of the line
_LOOK = 1.0  # seconds between two looks at the pool: that its backend is well again is no transition


class LineFullError(TmppoolError):
    """Too many wait already: in all, or of one network."""


class Waiter(Protocol):
    """Somebody in the line. ``go`` must not block; a task that it spawns must take a notebook in its first step."""

    @property
    def may_go(self) -> bool:
        """True unless it is trying already, or nobody is there to get the notebook."""

    @property
    def is_exempt(self) -> bool:
        """True if what its network holds does not hold it back."""

    def go(self) -> None:
        """Try to take a notebook. The waiter keeps its place until it leaves."""


class WaitingLine:
    """``shortage`` returns the reason why the pool would assign no notebook now, None if it would.

    ``holds_share`` tells if a network holds as many notebooks as it may: others pass its waiters until one ends.
    """

    def __init__(
        self,
        pool: Pool,
        shortage: Callable[[], Shortage | None],
        holds_share: Callable[[bytes], bool] = lambda _network: False,
    ) -> None:
        self.shortage = shortage
        self._holds_share = holds_share
        self._waiting: dict[Waiter, bytes] = {}  # in the order of their arrival, with their networks
        self._of_network: Counter[bytes] = Counter()
        self._is_turn = False
        self._timer: asyncio.TimerHandle | None = None
        pool.listen(self._hear)

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, waiter: Waiter, network: bytes) -> None:
        """Put a waiter at the end of the line. Raises LineFullError.

        Who would get a notebook at once does not wait, and finds no line too long.
        """
        if len(self._waiting) >= _MOST and not self._would_go(waiter, network):
            raise LineFullError("Very many pages are waiting for a notebook already. Try again in some minutes.")
        if self._of_network[network] >= _MOST_OF_NETWORK:
            raise LineFullError("Many pages are waiting for a notebook at your network address already.")
        self._waiting[waiter] = network
        self._of_network[network] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)

    def leave(self, waiter: Waiter) -> None:
        """Take a waiter out of the line. No effect if it is not in it."""
        network = self._waiting.pop(waiter, None)
        if network is not None:
            self._of_network -= Counter((network,))  # which keeps no zeros
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def call(self) -> None:
        """Give the first waiter its turn, unless another one has it or the pool has no notebook."""
        if self._is_turn or not self._waiting or self.shortage() is not None:
            return
        first = self._first()
        if first is not None:
            self._is_turn = True
            first.go()
            asyncio.get_running_loop().call_soon(self._turn_over)  # after the first step of what ``go`` has spawned

    def holds_back(self, waiter: Waiter) -> bool:
        """Return True if others pass this waiter because of what its network holds."""
        network = self._waiting.get(waiter)
        return network is not None and not waiter.is_exempt and self._holds_share(network)

    def _would_go(self, waiter: Waiter, network: bytes) -> bool:
        """Return True if the pool has a notebook, and nobody in the line but this newcomer could take it."""
        if self.shortage() is not None or self._first() is not None:
            return False
        return waiter.is_exempt or not self._holds_share(network)

    def _first(self) -> Waiter | None:
        """Return the first waiter that may go. Each network is counted once, however many of it wait."""
        held: set[bytes] = set()
        for waiter, network in self._waiting.items():
            if not waiter.may_go or (network in held and not waiter.is_exempt):
                continue
            if not self.holds_back(waiter):
                return waiter
            held.add(network)
        return None

    def _turn_over(self) -> None:
        self._is_turn = False
        self.call()

    def _hear(self, fact: Transition) -> None:
        if fact.to is State.WARM:
            self.call()

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look)
        self.call()
