"""The outcome of a pool's starts: what is wrong with them, and when the next one may be, or has to be, tried.

A notebook that ends by itself soon after it was warm is a failed start too: an image whose server crashes would
otherwise be started over and over, and nothing would be said to be wrong. After a second one in a row, only a notebook
that lives for longer proves that starts succeed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from tmppool.backoff import Backoff

YOUNG = 30.0
"""Seconds after which a warm notebook counts as a start that succeeded, whatever becomes of it."""

PROOF = 600.0
"""Seconds after which a start is due to prove that starts succeed, if there was none."""

_CAP = 10.0  # seconds between two tries: a cause that is gone, as a full disk, is to be noticed soon


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault, and the time since which it lasts, in seconds of the pool's clock."""

    error: str
    since: float


@dataclass(slots=True)
class Starts:
    """The starts of one pool. All times are seconds of the pool's clock, and ``tried_at`` that of the last outcome.

    ``trouble`` is None once a start has succeeded.
    """

    tried_at: float
    trouble: Trouble | None = None
    backoff: Backoff = field(default_factory=lambda: Backoff(cap=_CAP, longest=60.0))
    _failed_at: float = -math.inf
    _ended_young: int = 0  # notebooks in a row; one may be an accident
    _excused_until: float = -math.inf

    def at_once(self, parallel: int) -> int:
        """Return how many starts may be under way: one while they fail, else ``parallel``."""
        return parallel if self.trouble is None else 1

    def is_proof_due(self, now: float) -> bool:
        """Return True if no start has succeeded or failed for so long that nobody knows whether one would."""
        return now - self.tried_at >= PROOF

    def succeeded(self, now: float) -> None:
        """Record that a notebook is warm."""
        self.tried_at = now
        if not self._must_live:
            self._recover()

    def lived(self, ready_at: float, now: float) -> None:
        """Record that a notebook that has been warm since ``ready_at`` is alive."""
        if self._ended_young and ready_at > self._failed_at and now - ready_at >= YOUNG:
            self._ended_young = 0
            self._recover()

    def failed(self, began_at: float, now: float, error: str, *, is_transient: bool = True) -> float:
        """Record a failure of a start that began at ``began_at``; return the seconds until the next may be tried.

        Of starts that were under way together, the first to fail prolongs the backoff.
        """
        self.tried_at = now
        self.trouble = Trouble(error, now if self.trouble is None else self.trouble.since)
        if began_at > self._failed_at:
            self.backoff.failed(now, is_transient=is_transient)
            self._failed_at = now
        return max(0.0, self.backoff.until - now)

    def ended(self, ready_at: float, now: float, error: str) -> float | None:
        """Record that a notebook ended by itself that was warm since ``ready_at``.

        If that was a failed start, return the seconds until the next may be tried, else None. Ends that come with an
        illness of the backend, or soon after, say nothing about starts.
        """
        if now - ready_at >= YOUNG or now < self._excused_until:
            return None
        self._ended_young += ready_at > self._failed_at
        return self.failed(ready_at, now, error)

    def wakes_in(self, warm: Iterable[float], now: float) -> float | None:
        """Return the seconds until a start may be tried again, or until one of ``warm`` has lived; None if never.

        ``warm``: the times since which notebooks have been warm.
        """
        times = [at + YOUNG for at in warm if self._must_live and at > self._failed_at]
        return min((at - now for at in (self.backoff.until, *times) if at > now), default=None)

    def forget(self, now: float) -> None:
        """Forget failures, as the backend was ill and is well again."""
        self._ended_young = 0
        self._recover()
        self._excused_until = now + YOUNG

    @property
    def _must_live(self) -> bool:
        """True if the trouble is that notebooks end young."""
        return self._ended_young > 1

    def _recover(self) -> None:
        self.trouble = None
        self.backoff.succeeded()
