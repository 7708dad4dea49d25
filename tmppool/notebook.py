"""State machine of one notebook. Every change of state goes through ``Place.move`` and the table ``TRANSITIONS``.

A notebook is assigned at most once: no transition leads back to WARM. Each move returns one ``Transition``, to which
the log, the metrics and the ledger listen; an illegal move raises ValueError and changes nothing. A ``Place`` in a
pool is taken when a start is decided; it becomes a ``Notebook`` when the start has succeeded.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from tmppool.jupyter import JupyterClient
from tmppool.keys import id_of
from tmppool.running import Death, Running


class State(StrEnum):
    """The states of a notebook, in order; the same words in log, metrics, ledger and API."""

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
    """The reasons for a transition; the same words in log, metrics, ledger and API."""

    READY = "ready"
    CLICK = "click"
    ADOPTED = "adopted"
    UNOPENED = "unopened"
    IDLE = "idle"
    EXPIRED = "expired"
    ENDED = "ended"
    DIED = "died"
    KILLED = "killed"
    OUT_OF_MEMORY = "out-of-memory"
    REMOVED = "removed"
    LOST = "lost"
    FAILED = "failed"
    DRAINED = "drained"
    SURPLUS = "surplus"
    REPLACED = "replaced"
    SHUTDOWN = "shutdown"


BY_DEATH: dict[Death, Reason] = {
    Death.EXITED: Reason.DIED,
    Death.KILLED: Reason.KILLED,
    Death.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    Death.REMOVED: Reason.REMOVED,
    Death.UNKNOWN: Reason.LOST,
}
"""The reason of an end that the service did not decide, by what its backend saw of it."""

UNDECIDED = frozenset(BY_DEATH.values())

REVOCABLE = UNDECIDED | {Reason.FAILED}
"""Reasons of ends that the service did not decide. If such a notebook is found running, it has not ended."""

OWN_ENDS = frozenset({Reason.DIED, Reason.KILLED, Reason.OUT_OF_MEMORY})
"""Reasons of ends that a fault of the image can cause: by its server's exit, or a signal to it."""

EXPLANATIONS: dict[Reason, str] = {
    Reason.UNOPENED: "Nobody opened it in time, so it was ended to make room for others.",
    Reason.IDLE: "It was idle for too long, so it was ended to make room for others.",
    Reason.EXPIRED: "It reached the maximum time that a notebook may run here.",
    Reason.ENDED: "Its owner ended it.",
    Reason.DIED: "Its server stopped by itself.",
    Reason.KILLED: "A signal from outside ended its server.",
    Reason.OUT_OF_MEMORY: "Its server needed more memory than a notebook may use here, and was ended.",
    Reason.REMOVED: "Its container was removed, and not by this service.",
    Reason.LOST: "It is gone or does not answer any more, and nobody saw why.",
    Reason.DRAINED: "The people who run this service ended it.",
    Reason.SHUTDOWN: "The service was shut down.",
}


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state, at ``at`` seconds of the pool's clock, after ``waited`` seconds in state ``was``.

    ``notebook`` is a plain Place if nothing runs in it: when a start has failed or was cancelled.
    """

    notebook: "Place"
    was: State
    to: State
    reason: Reason
    at: float
    waited: float


class Closers(set[Callable[[], None]]):
    """A set of callbacks, each called once by ``close``; one that is added later is called soon after."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def add(self, close: Callable[[], None], /) -> None:
        """Add a callback; after ``close``, schedule it on the event loop instead."""
        if self.is_closed:
            asyncio.get_running_loop().call_soon(close)
        else:
            super().add(close)

    def close(self) -> None:
        """Call each callback once."""
        self.is_closed = True
        while self:
            self.pop()()


@dataclass(slots=True, eq=False, repr=False)
class Place:
    """A place in a pool, taken by a notebook that is being started. Times are seconds of the pool's monotonic clock.

    ``edition`` is the id of that notebook's edition; empty if it is unknown.
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
        """The public id, which does not reveal the key."""
        return id_of(self.key)

    def __repr__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"<{type(self).__name__} {self.id} {self.state}{why}>"

    def move(self, to: State, reason: Reason, now: float) -> Transition:
        """Change the state. Raises ValueError and changes nothing if the transition is illegal."""
        if to not in TRANSITIONS[self.state]:
            raise ValueError(f"{self!r} may not become {to}")
        fact = Transition(self, self.state, to, reason, now, now - self.moved_at)
        self.state, self.reason, self.moved_at = to, reason, now
        if to in (State.REAPING, State.GONE):
            self._close()
        return fact

    def filled(self, running: Running, jupyter: JupyterClient) -> "Notebook":
        """Return the notebook that replaces this place once it is started."""
        return Notebook(
            self.key, self.pool, self.created_at, running.edition, self.state, self.reason,
            running=running, jupyter=jupyter, is_paused=running.is_paused,
        )  # fmt: skip

    def _close(self) -> None:
        """Close all connections; a plain place has none."""


@dataclass(slots=True, eq=False, repr=False)
class Notebook(Place):
    """A running notebook, reached by ``running.dial``; ``jupyter`` is the service's own client of it.

    ``shared`` is the nonce of the current sharing, None if it is not shared. ``network`` is the digest of the network
    whose share of the pool it takes, None if it takes none. ``is_paused``: the operator has paused it, so it neither
    answers nor counts as idle. ``unanswered``: how many questions, in a row and since its last
    activity, whether something works in it had no answer. ``ready_at``: when it became warm, None if that was before a
    restart of the service. ``on_close`` closes the owner's connections and everything else, ``on_unshare`` the guests';
    both are called on REAPING or GONE.
    """

    running: Running = field(kw_only=True)
    jupyter: JupyterClient = field(kw_only=True)
    ready_at: float | None = None
    visitor: str | None = None
    active_at: float = 0.0
    expires_at: float | None = None
    asked_at: float | None = None
    unanswered: int = 0
    shared: str | None = None
    network: str | None = None
    is_opened: bool = False
    is_paused: bool = False
    on_close: Closers = field(default_factory=Closers)
    on_unshare: Closers = field(default_factory=Closers)

    @property
    def is_live(self) -> bool:
        """True while it is assigned."""
        return self.state is State.ASSIGNED

    @property
    def is_jupyter(self) -> bool:
        """True unless its server was found to be another web application, to which all paths belong."""
        return self.jupyter.is_jupyter is not False

    def begin(
        self,
        visitor: str | None,
        now: float,
        expires_at: float | None,
        shared: str | None = None,
        network: str | None = None,
        *,
        is_opened: bool = False,
    ) -> None:
        """Set the facts of a session that begins, or continues after a restart; ``visitor`` is its owner."""
        self.visitor, self.shared, self.network, self.is_opened = visitor, shared, network, is_opened
        self.active_at, self.expires_at = now, expires_at

    def outdate(self) -> None:
        """While it is warm, let ticks replace it by another: it belongs to no edition that is wanted any more."""
        self.edition = ""

    def renew(self, visitor: str) -> None:
        """Note that the owner is known as this visitor from now on."""
        self.visitor = visitor

    def bind(self, visitor: str) -> bool:
        """Make this visitor the owner; return False and change nothing if there is one."""
        if self.visitor is not None:
            return False
        self.visitor = visitor
        return True

    def touch(self, at: float) -> None:
        """Note activity at ``at``, unless later activity is known."""
        if at > self.active_at:
            self.active_at, self.unanswered = at, 0

    def note_pause(self, now: float, *, is_paused: bool) -> None:
        """Note whether it is paused. Its idle time begins when it goes on."""
        if self.is_paused and not is_paused:
            self.touch(now)
        self.is_paused = is_paused

    def share(self, shared: str | None) -> None:
        """Set the nonce of the sharing, None to unshare; either closes all guests' connections."""
        closers, self.on_unshare = self.on_unshare, Closers()
        self.shared = shared
        closers.close()

    def _close(self) -> None:
        self.on_unshare.close()
        self.on_close.close()
