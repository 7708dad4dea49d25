"""Growing delay after failure. Pure: the caller brings the time, so no test needs a clock."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Doubles from ``first`` to ``cap`` seconds, with up to 10 % jitter so that many do not return at once."""

    first: float = 1.0
    cap: float = 60.0
    failures: int = 0
    until: float = 0.0
    jitter: random.Random = field(default_factory=random.Random, repr=False)

    def failed(self, now: float, *, is_transient: bool = True) -> float:
        """Note one more failure; returns the delay in seconds before the next try, the longest unless transient."""
        delay = min(self.cap, self.first * 2.0 ** min(self.failures, 32)) if is_transient else self.cap
        delay *= 1 + self.jitter.uniform(-0.1, 0.0)
        self.failures += 1
        self.until = now + delay
        return delay

    def succeeded(self) -> None:
        self.failures = 0
        self.until = 0.0

    def may_try(self, now: float) -> bool:
        return now >= self.until
