"""Who may start a notebook now: a number an hour for each network address, any number with the workshop's code.

Held in memory only: a restart forgets what was counted, never what runs.
"""

import contextlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Literal

import structlog

from tmppool.errors import PoolEmptyError, TmppoolError
from tmppool.proxy.forwarded import parse

WRONG_CODES_PER_HOUR = 30
"""For one address. A class of forty mistypes now and then; a list of words takes weeks."""

_HOUR = 3600
_SECOND = 1_000_000_000  # in the clock's nanoseconds
_REMEMBERED = 50_000

Cause = Literal["starts", "code", "guesses"]
_MESSAGES: dict[Cause, str] = {
    "starts": "Many notebooks were started from your network address lately.",
    "code": "That workshop code is not right.",
    "guesses": "Many wrong workshop codes came from your network address lately.",
}

_log = structlog.get_logger("tmppool.admission")


class RefusedError(TmppoolError):
    """No notebook now: too many starts, a wrong code, or too many wrong ones. ``retry_after`` is in seconds."""

    def __init__(self, cause: Cause, retry_after: int = 0) -> None:
        super().__init__(_MESSAGES[cause])
        self.cause = cause
        self.retry_after = retry_after


class Buckets:
    """A bucket of ``size`` tokens for each key, all of which come back, evenly, in one hour.

    A bucket is one number: when it will be full again. All of them are whole numbers of 1/``size`` nanoseconds, so
    nothing is ever rounded. A full bucket takes no memory. Beyond ``_REMEMBERED`` of them the one longest untouched is
    forgotten: whoever has so many addresses has so many buckets anyhow.
    """

    def __init__(self, size: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._size = size
        self._clock = clock
        self._cost = _HOUR * _SECOND
        self._full_at: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, key: bytes) -> int:
        """Return in how many whole seconds there is a token; 0 when there is one now."""
        now = self._clock() * self._size
        lacking = max(self._full_at.get(key, now), now) + self._cost - (now + self._size * self._cost)
        return max(0, -(-lacking // (self._size * _SECOND)))

    def take(self, key: bytes) -> int:
        """Take a token and return 0; without one, return what ``wait`` does."""
        wait = self.wait(key)
        if not wait:
            now = self._clock() * self._size
            self._full_at[key] = max(self._full_at.pop(key, now), now) + self._cost
            self._forget(now)
        return wait

    def give_back(self, key: bytes) -> None:
        """Put back a token that was taken for nothing."""
        full_at = self._full_at.get(key, 0) - self._cost
        if full_at > self._clock() * self._size:
            self._full_at[key] = full_at
        else:
            self._full_at.pop(key, None)

    def _forget(self, now: int) -> None:
        """Forget buckets from the longest untouched on, while they are full again or too many."""
        while self._full_at:
            key, full_at = next(iter(self._full_at.items()))
            if full_at > now and len(self._full_at) <= _REMEMBERED:
                return
            del self._full_at[key]


class Admission:
    """``starts_per_hour`` 0 is no limit; ``code`` is the workshop's, None where there is none."""

    def __init__(
        self, starts_per_hour: int, code: str | None = None, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._code = code or None
        self._starts = Buckets(starts_per_hour, clock) if starts_per_hour else None
        self._wrong_codes = Buckets(WRONG_CODES_PER_HOUR, clock)
        self._participants: OrderedDict[str, None] = OrderedDict()
        self._has_warned = False

    @property
    def has_code(self) -> bool:
        return self._code is not None

    @contextlib.contextmanager
    def start(self, address: str, visitor: str | None = None, code: str = "") -> Iterator[None]:
        """Count one start, unless the pool has none to give. Raises RefusedError.

        A visitor who gave the right code needs it no more.
        """
        place = place_of(address)
        if code and self._code is not None:
            self._check(code, place)
            self._remember(visitor)
        is_counted = self._starts is not None and not (code and self.has_code) and visitor not in self._participants
        if is_counted:
            self._count(place, address)
        try:
            yield
        except PoolEmptyError:
            if is_counted and self._starts is not None:
                self._starts.give_back(place)
            raise

    def _check(self, code: str, place: bytes) -> None:
        # Asked first: after too many wrong ones a right one must not stand out.
        wait = self._wrong_codes.wait(place)
        if wait:
            raise RefusedError("guesses", wait)
        if not is_same(code.strip(), self._code or ""):
            self._wrong_codes.take(place)
            raise RefusedError("code")

    def _remember(self, visitor: str | None) -> None:
        if visitor is None:
            return
        self._participants[visitor] = None
        self._participants.move_to_end(visitor)
        if len(self._participants) > _REMEMBERED:
            self._participants.popitem(last=False)

    def _count(self, place: bytes, address: str) -> None:
        assert self._starts is not None
        wait = self._starts.take(place)
        if not wait:
            return
        if not self._has_warned and _is_private(address):
            self._has_warned = True
            _log.warning(
                "start.refused",
                message="the starts of one private address are used up for now: if that is a proxy in front of"
                " this service, name it in --trusted-proxies; for a class behind one address use --workshop-code",
            )
        raise RefusedError("starts", wait)


def is_same(given: str, wanted: str) -> bool:
    """Compare two secrets in a time that tells nothing of where they differ; any text is allowed."""
    return hmac.compare_digest(given.encode(errors="surrogateescape"), wanted.encode(errors="surrogateescape"))


def place_of(address: str) -> bytes:
    """Return what counts as one network address: an IPv4 address, or the /64 that one IPv6 host may roam in."""
    found = parse(address)
    if found is None:
        return b""
    return found.packed if found.version == 4 else found.packed[:8]  # noqa: PLR2004


def _is_private(address: str) -> bool:
    found = parse(address)
    return found is not None and found.is_private
