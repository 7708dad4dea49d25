"""One notebook's life. Every change of state goes through ``Notebook.move`` and this table.

A notebook is given away once and never comes back: there is no arrow back to WARM. Each move yields one
``Transition``, which the log, the metrics and the ledger listen to; an illegal move raises and changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from tmppool.running import digest
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


@dataclass(slots=True, eq=False)
class Notebook:
    """All times are seconds of the pool's own monotonic clock."""

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
    on_close: set[Callable[[], None]] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        self.moved_at = self.created_at

    @property
    def id(self) -> str:
        return digest(self.key)

    def __repr__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"<Notebook {self.id} {self.state}{why}>"

    @property
    def is_live(self) -> bool:
        return self.state is State.ASSIGNED

    def move(self, to: State, reason: Reason, now: float) -> Transition:
        """Change state. Raises ValueError, changing nothing, when the table has no such arrow.

        From REAPING or GONE on, whatever registered in ``on_close`` (open tunnels) is closed.
        """
        if to not in TRANSITIONS[self.state]:
            raise ValueError(f"{self!r} may not become {to}")
        fact = Transition(self, self.state, to, reason, now, now - self.moved_at)
        self.state, self.reason, self.moved_at = to, reason, now
        if to in (State.REAPING, State.GONE):
            closers, self.on_close = self.on_close, set()
            for close in closers:
                close()
        return fact
