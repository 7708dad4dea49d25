"""Limits on starts: a number an hour from each network address, any number with the workshop's code.

Held in memory only: a restart forgets what was counted, never what runs.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Literal

import structlog
from cachetools import LRUCache, TLRUCache

from tmppool.errors import NoNotebookError, TmppoolError
from tmppool.proxy.forwarded import parse
from tmppool.web.authorization import is_same

WRONG_CODES_PER_HOUR = 30
"""From one address. A class of forty mistypes now and then; a list of words takes weeks."""

_SECOND = 1_000_000_000  # nanoseconds
_HOUR = 3600 * _SECOND
_REMEMBERED = 16_000  # keys of a limiter: about 5 MB; and participants

Cause = Literal["starts", "code", "guesses"]
_MESSAGES: dict[Cause, str] = {
    "starts": "Many notebooks were started from your network address lately.",
    "code": "That workshop code is wrong.",
    "guesses": "Many wrong workshop codes came from your network address lately.",
}

_log = structlog.get_logger("tmppool.start_limits")


class StartRefusedError(TmppoolError):
    """No start now: too many of them, a wrong code, or too many wrong codes.

    ``retry_after`` is in seconds; 0 where waiting does not help.
    """

    def __init__(self, cause: Cause, retry_after: int = 0) -> None:
        super().__init__(_MESSAGES[cause])
        self.cause = cause
        self.retry_after = retry_after


class RateLimiter:
    """``per_hour`` events at once for each key, each of which comes back a 1/``per_hour`` of an hour after the last.

    This is the generic cell rate algorithm, as virtual scheduling (ITU-T I.371, annex A): a key is known by one number,
    its theoretical arrival time, at which its next event would be due if all were evenly spaced. An event may come
    before that by up to ``per_hour`` - 1 intervals. From then on the key is as if it had never been seen, and is
    forgotten. Beyond ``_REMEMBERED`` keys the least recently used one is forgotten as well: whoever has so many
    addresses has so many times the limit anyhow.

    Times are whole nanoseconds by ``clock``, so that nothing is lost by rounding.
    """

    def __init__(self, per_hour: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._interval = -(-_HOUR // per_hour)
        self._tolerance = (per_hour - 1) * self._interval
        self._clock = clock
        self._arrivals: TLRUCache[bytes, int, int] = TLRUCache(_REMEMBERED, lambda _key, arrival, _now: arrival, clock)

    def __len__(self) -> int:
        """Return the number of keys that have less than all of their events."""
        return len(self._arrivals)

    def wait(self, key: bytes) -> int:
        """Return in how many seconds, rounded up, there is an event for ``key``; 0 when there is one now."""
        return self._wait(self._arrivals.get(key, 0), self._clock())

    def take(self, key: bytes) -> int:
        """Take an event and return 0; without one take nothing and return the seconds until there is."""
        arrival, now = self._arrivals.get(key, 0), self._clock()
        wait = self._wait(arrival, now)
        if not wait:
            self._arrivals[key] = max(arrival, now) + self._interval
        return wait

    def give_back(self, key: bytes) -> None:
        """Undo one ``take``."""
        # The cache forgets what is past, so that nothing is kept of a key that took no other.
        self._arrivals[key] = self._arrivals.get(key, 0) - self._interval

    def _wait(self, arrival: int, now: int) -> int:
        return max(0, -(-(arrival - self._tolerance - now) // _SECOND))


class StartLimits:
    """``starts_per_hour`` is for one network address, 0 for any number; ``code`` is the workshop's, if there is one."""

    def __init__(
        self, starts_per_hour: int, code: str | None = None, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._code = code or None
        self._starts = RateLimiter(starts_per_hour, clock) if starts_per_hour else None
        self._wrong_codes = RateLimiter(WRONG_CODES_PER_HOUR, clock)
        self._participants: LRUCache[str, Literal[True]] = LRUCache(_REMEMBERED)
        self._has_warned = False

    @property
    def has_code(self) -> bool:
        """True where there is a workshop code."""
        return self._code is not None

    @contextlib.contextmanager
    def count_start(self, address: str, visitor: str | None = None, code: str = "") -> Iterator[None]:
        """Count the start inside, unless it raises NoNotebookError. Raises StartRefusedError instead of starting.

        A right ``code`` lifts the limit for this start and for every later one of the same ``visitor``; None, as
        programs are, is not remembered.
        """
        network = network_of(address)
        limiter = None if self._is_participant(network, visitor, code) else self._starts
        if limiter is not None:
            self._take(limiter, network, address)
        try:
            yield
        except NoNotebookError:
            if limiter is not None:
                limiter.give_back(network)
            raise

    def _is_participant(self, network: bytes, visitor: str | None, code: str) -> bool:
        """Return True for who gives the code, now or earlier. Raises StartRefusedError for a wrong one."""
        if not code or self._code is None:
            return visitor is not None and self._participants.get(visitor, False)
        # Before the code is looked at: after too many wrong ones a right one must not stand out.
        wait = self._wrong_codes.wait(network)
        if wait:
            raise StartRefusedError("guesses", wait)
        if not is_same(code.strip(), self._code):
            self._wrong_codes.take(network)
            raise StartRefusedError("code")
        if visitor is not None:
            self._participants[visitor] = True
        return True

    def _take(self, limiter: RateLimiter, network: bytes, address: str) -> None:
        wait = limiter.take(network)
        if not wait:
            return
        if not self._has_warned and _is_private(address):
            self._has_warned = True
            _log.warning(
                "start.refused",
                message="a private client address used up --starts-per-hour: if it is a reverse proxy in front of"
                " this service, add it to --trusted-proxies; for a class behind one address set --workshop-code",
            )
        raise StartRefusedError("starts", wait)


def network_of(address: str) -> bytes:
    """Return the network that is counted as one: an IPv4 address, or the /64 that one IPv6 host may roam in.

    A subnet is a /64 (RFC 4291 section 2.5.1), and a host takes as many addresses in it as it likes (RFC 8981).
    Whatever is no address is one network, the empty one.
    """
    found = parse(address)
    if found is None:
        return b""
    return found.packed if found.version == 4 else found.packed[:8]  # noqa: PLR2004


def _is_private(address: str) -> bool:
    found = parse(address)
    return found is not None and found.is_private
