"""One notebook's life. Every change of state goes through ``Place.move`` and this table.

A notebook is given away once and never comes back: there is no arrow back to WARM. Each move yields one
``Transition``, which the log, the metrics and the ledger listen to; an illegal move raises and changes nothing.
A ``Place`` in a pool is held from the moment at which a start is decided; once something runs it is a ``Notebook``.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from tmppool.jupyter import JupyterClient
from tmppool.keys import id_of
from tmppool.running import Running


class State(StrEnum):
    """The stages of a notebook's life, in order; the same words in log, metric, ledger and API."""

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
    """The cause of a move; the same word in log, metric, ledger and page."""

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
    SHUTDOWN = "shutdown"


REVOCABLE = frozenset({Reason.DIED, Reason.FAILED})
"""Ends that nobody decided: a notebook that runs all the same has not ended."""

EXPLANATIONS: dict[Reason, str] = {
    Reason.IDLE: "It was idle, so it was ended to make room for others.",
    Reason.EXPIRED: "It reached the maximum time that a notebook may run here.",
    Reason.ENDED: "It was ended from its own page.",
    Reason.DIED: "Its server stopped by itself, perhaps because it ran out of memory.",
    Reason.DRAINED: "The operator of this service ended it.",
    Reason.SHUTDOWN: "The service was shut down.",
}


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state as a fact, at ``at`` seconds of the pool's clock, after ``waited`` seconds in ``was``.

    ``notebook`` is a bare Place while nothing runs in it: when a start fails or is given up.
    """

    notebook: "Place"
    was: State
    to: State
    reason: Reason
    at: float
    waited: float


class Closers(set[Callable[[], None]]):
    """A set of functions that close things, called once together; one that is added afterwards is called at once."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def add(self, close: Callable[[], None], /) -> None:
        """Add one; after ``close`` the loop calls it as soon as it is free."""
        if self.is_closed:
            asyncio.get_running_loop().call_soon(close)
        else:
            super().add(close)

    def close(self) -> None:
        """Call all of them, each once."""
        self.is_closed = True
        while self:
            self.pop()()


@dataclass(slots=True, eq=False, repr=False)
class Place:
    """A place in a pool, held for a notebook that is being started. Times are seconds of the pool's monotonic clock.

    ``edition`` is the id of what is being started there.
    """

    key: str
    pool: str
    created_at: float
    edition: str = ""
    state: State = State.STARTING
    reason: Reason | None = None
    moved_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.moved_at = self.created_at

    @property
    def id(self) -> str:
        """The public name, which gives nothing away of the key."""
        return id_of(self.key)

    def __repr__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"<{type(self).__name__} {self.id} {self.state}{why}>"

    def move(self, to: State, reason: Reason, now: float) -> Transition:
        """Change state. Raises ValueError, changing nothing, when the table has no such arrow."""
        if to not in TRANSITIONS[self.state]:
            raise ValueError(f"{self!r} may not become {to}")
        fact = Transition(self, self.state, to, reason, now, now - self.moved_at)
        self.state, self.reason, self.moved_at = to, reason, now
        if to in (State.REAPING, State.GONE):
            self._close()
        return fact

    def filled(self, running: Running, jupyter: JupyterClient) -> "Notebook":
        """Return the notebook that this place holds from now on, its start being done."""
        return Notebook(
            self.key, self.pool, self.created_at, running.edition, self.state, self.reason,
            running=running, jupyter=jupyter,
        )  # fmt: skip

    def _close(self) -> None:
        """Close what is open to anybody: nothing is where nothing runs."""


@dataclass(slots=True, eq=False, repr=False)
class Notebook(Place):
    """A notebook that runs, reached by ``running.dial``; ``jupyter`` is the service's own client of it.

    ``shared`` is the number, used once, of the sharing that is on. ``on_close`` holds what is open to the owner, or
    to everyone, and ``on_unshare`` what is open to those they share with; both are closed from REAPING or GONE on.
    """

    running: Running = field(kw_only=True)
    jupyter: JupyterClient = field(kw_only=True)
    visitor: str | None = None
    active_at: float = 0.0
    expires_at: float | None = None
    asked_at: float | None = None
    shared: str | None = None
    on_close: Closers = field(default_factory=Closers)
    on_unshare: Closers = field(default_factory=Closers)

    @property
    def is_live(self) -> bool:
        """True while it is somebody's."""
        return self.state is State.ASSIGNED

    def begin(self, visitor: str | None, now: float, expires_at: float | None, shared: str | None = None) -> None:
        """Set the facts of a session that begins, or that goes on after a restart; ``visitor`` is its owner."""
        self.visitor, self.shared = visitor, shared
        self.active_at, self.expires_at = now, expires_at

    def bind(self, visitor: str) -> bool:
        """Make this visitor the owner; returns False, changing nothing, if it has one."""
        if self.visitor is not None:
            return False
        self.visitor = visitor
        return True

    def touch(self, at: float) -> None:
        """Note activity at ``at``; earlier activity than what is known changes nothing."""
        self.active_at = max(self.active_at, at)

    def share(self, shared: str | None) -> None:
        """Begin to share, or end it for None; either ends what was open to others before."""
        closers, self.on_unshare = self.on_unshare, Closers()
        self.shared = shared
        closers.close()

    def _close(self) -> None:
        self.on_unshare.close()
        self.on_close.close()
