"""One notebook's life. Every change of state goes through ``Notebook.move`` and this table.

A notebook is given away once and never comes back: there is no arrow back to WARM. Each move yields one
``Transition``, which the log, the metrics and the ledger listen to; an illegal move raises and changes nothing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from tmppool.keys import id_of
from tmppool.upstream import Upstream


class State(StrEnum):
    STARTING = "starting"
    WARM = "warm"
    ASSIGNED = "assigned"
    REAPING = "reaping"
    GONE = "gone"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.WARM, State.ASSIGNED, State.REAPING, State.GONE}),
    State.WARM: frozenset({State.ASSIGNED, State.REAPING, State.GONE}),
    State.ASSIGNED: frozenset({State.REAPING, State.GONE}),
    State.REAPING: frozenset({State.GONE}),
    State.GONE: frozenset(),
}


class Reason(StrEnum):
    """Why a move happened. The same word in log, metric, ledger and page."""

    READY = "ready"
    CLICK = "click"
    ADOPTED = "adopted"
    IDLE = "idle"
    EXPIRED = "expired"
    ENDED = "ended"
    DIED = "died"
    FAILED = "failed"
    DRAINED = "drained"
    SURPLUS = "surplus"
    ORPHAN = "orphan"
    SHUTDOWN = "shutdown"


REVOCABLE = frozenset({Reason.DIED, Reason.FAILED})
"""Ends that nobody decided: a notebook that runs all the same has not ended."""

EXPLANATIONS: dict[Reason, str] = {
    Reason.IDLE: "Nobody had used it for a while, so it was ended to make room for others.",
    Reason.EXPIRED: "It had reached the longest time that a notebook may live here.",
    Reason.ENDED: "It was ended from its own page.",
    Reason.DIED: "Its server stopped by itself, perhaps because it ran out of memory.",
    Reason.DRAINED: "The operator of this service ended it.",
    Reason.SHUTDOWN: "The service was shut down.",
}


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state as a fact. ``waited`` is how many seconds the notebook had spent in ``was``."""

    notebook: "Notebook"
    was: State
    to: State
    reason: Reason
    at: float
    waited: float


class Closers(set[Callable[[], None]]):
    """What is to be closed with something; what is added to it afterwards is closed at once."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def add(self, close: Callable[[], None], /) -> None:
        if self.is_closed:
            asyncio.get_running_loop().call_soon(close)
        else:
            super().add(close)

    def close(self) -> None:
        self.is_closed = True
        while self:
            self.pop()()


@dataclass(slots=True, eq=False)
class Notebook:
    """All times are seconds of the pool's own monotonic clock.

    ``shared`` is the number, used once, of the sharing that is on. ``on_close`` holds what is open to the owner, or
    to everyone, and ``on_unshare`` what is open to those he shares with.
    """

    key: str
    pool: str
    created_at: float
    state: State = State.STARTING
    reason: Reason | None = None
    moved_at: float = 0.0
    upstream: Upstream | None = None
    visitor: str | None = None
    active_at: float = 0.0
    expires_at: float | None = None
    asked_at: float | None = None
    shared: str | None = None
    on_close: Closers = field(default_factory=Closers, repr=False)
    on_unshare: Closers = field(default_factory=Closers, repr=False)

    def __post_init__(self) -> None:
        self.moved_at = self.created_at

    @property
    def id(self) -> str:
        return id_of(self.key)

    def __repr__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"<Notebook {self.id} {self.state}{why}>"

    @property
    def is_live(self) -> bool:
        return self.state is State.ASSIGNED

    def move(self, to: State, reason: Reason, now: float) -> Transition:
        """Change state. Raises ValueError, changing nothing, when the table has no such arrow.

        From REAPING or GONE on, whatever registered in ``on_close`` or ``on_unshare`` (open tunnels) is closed.
        """
        if to not in TRANSITIONS[self.state]:
            raise ValueError(f"{self!r} may not become {to}")
        fact = Transition(self, self.state, to, reason, now, now - self.moved_at)
        self.state, self.reason, self.moved_at = to, reason, now
        if to in (State.REAPING, State.GONE):
            self.on_unshare.close()
            self.on_close.close()
        return fact

    def share(self, shared: str | None) -> None:
        """Begin to share, or end it for None; either ends what was open to others before."""
        closers, self.on_unshare = self.on_unshare, Closers()
        self.shared = shared
        closers.close()
