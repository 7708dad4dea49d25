"""Exponential backoff. The caller passes the time, so that tests need no clock."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """A delay that doubles from ``first`` to ``cap`` seconds, shortened by up to 10 % jitter to spread retries.

    ``longest``: the delay in seconds after a failure that is not transient; ``cap`` if None.
    """

    first: float = 1.0
    cap: float = 60.0
    longest: float | None = None
    failures: int = 0
    until: float = 0.0
    jitter: random.Random = field(default_factory=random.Random, repr=False)

    def failed(self, now: float, *, is_transient: bool = True) -> float:
        """Record a failure; return the delay in seconds before the next retry, the longest unless transient."""
        longest = self.cap if self.longest is None else self.longest
        delay = min(self.cap, self.first * 2.0 ** min(self.failures, 32)) if is_transient else longest
        delay *= 1 + self.jitter.uniform(-0.1, 0.0)
        self.failures += 1
        self.until = now + delay
        return delay

    def succeeded(self) -> None:
        self.failures = 0
        self.until = 0.0

    def may_try(self, now: float) -> bool:
        return now >= self.until
