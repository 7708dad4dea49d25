"""Limits on starts by network address: how many an hour, and how many notebooks of a pool it may hold at a time.

The workshop code lifts both. The starts of the hour are counted in memory only: a restart resets them. The notebooks
that an address holds are counted in the pool's table, which a restart restores.
"""

import contextlib
import hashlib
import ipaddress
import time
from collections.abc import Callable, Iterator
from typing import Literal

import structlog
from cachetools import LRUCache, TLRUCache

from tmppool.errors import NoNotebookError, TmppoolError
from tmppool.notebook import State
from tmppool.pool import Pool
from tmppool.proxy.forwarded import parse
from tmppool.web.authorization import is_same

WRONG_CODES_PER_HOUR = 30
"""Per address: enough for the typing errors of a class of forty; a dictionary attack takes weeks."""

_SECOND = 1_000_000_000  # nanoseconds
_HOUR = 3600 * _SECOND
_REMEMBERED = 16_000  # keys per limiter, about 5 MB; also participants
_HELD_RETRY = 60  # Retry-After of an address that holds its share: when one of them ends is up to others

Cause = Literal["starts", "held", "code", "guesses"]
_MESSAGES: dict[Cause, str] = {
    "starts": "Many notebooks were started from your network address recently.",
    "held": "Your network address holds as many notebooks as one address may: end one of them first, or wait.",
    "code": "That workshop code is wrong.",
    "guesses": "Many wrong workshop codes came from your network address recently.",
}

_log = structlog.get_logger("tmppool.start_limits")


class StartRefusedError(TmppoolError):
    """A start is refused: too many starts or notebooks, a wrong code, or too many wrong codes.

    ``retry_after`` is in seconds; 0 if waiting does not help.
    """

    def __init__(self, cause: Cause, retry_after: int = 0) -> None:
        super().__init__(_MESSAGES[cause])
        self.cause = cause
        self.retry_after = retry_after


class RateLimiter:
    """Allows a burst of ``per_hour`` events per key, and regains one every 1/``per_hour`` of an hour.

    This is the generic cell rate algorithm with virtual scheduling (ITU-T I.371, annex A). Each key has one number, its
    theoretical arrival time (TAT): the time at which its next event would be due if all were evenly spaced. An event
    may come up to ``per_hour`` - 1 intervals earlier. A key whose TAT has passed has all of its events, and is
    forgotten. Beyond ``_REMEMBERED`` keys the least recently used one is forgotten too: a client with so many
    addresses has so many times the limit anyway.

    Times are whole nanoseconds of ``clock``, so that rounding loses nothing.
    """

    def __init__(self, per_hour: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._interval = -(-_HOUR // per_hour)
        self._tolerance = (per_hour - 1) * self._interval
        self._clock = clock
        self._arrivals: TLRUCache[bytes, int, int] = TLRUCache(_REMEMBERED, lambda _key, arrival, _now: arrival, clock)

    def __len__(self) -> int:
        """Return the number of keys that have used events."""
        return len(self._arrivals)

    def wait(self, key: bytes) -> int:
        """Return the seconds, rounded up, until ``key`` may take an event; 0 if it may now."""
        return self._wait(self._arrivals.get(key, 0), self._clock())

    def take(self, key: bytes) -> int:
        """Take an event and return 0; if there is none, return the seconds until there is."""
        arrival, now = self._arrivals.get(key, 0), self._clock()
        wait = self._wait(arrival, now)
        if not wait:
            self._arrivals[key] = max(arrival, now) + self._interval
        return wait

    def give_back(self, key: bytes) -> None:
        """Undo one ``take``."""
        # The cache drops an arrival in the past, so a key that took no other event is forgotten.
        self._arrivals[key] = self._arrivals.get(key, 0) - self._interval

    def _wait(self, arrival: int, now: int) -> int:
        return max(0, -(-(arrival - self._tolerance - now) // _SECOND))


class HoldingLimit:
    """The notebooks of one pool that a network may hold at a time: ``most``, by default half of the pool, rounded up.

    One address is rarely one visitor: half leaves a school or a company behind a NAT as much as all others together,
    one notebook of a pool of one or two to whoever comes first, and never the whole of a larger pool to a single
    client, who would need two networks for that. More than half would leave the others too little, and a fixed number
    would be all of a small pool and next to nothing of a large one.

    ``secret`` keys the digest of a network, so that neither the table nor the ledger holds an address.
    """

    def __init__(self, secret: bytes, most: int | None = None) -> None:
        self._secret = secret
        self._most = most

    def check(self, pool: Pool, network: bytes) -> str:
        """Return the digest of a network that may hold one more. Raises StartRefusedError for one that may not.

        A pool that has nothing to give refuses for that reason, as it does to everybody.
        """
        digest = self._digest(network)
        if pool.count(State.WARM) and not self._has_room(pool, digest):
            raise StartRefusedError("held", _HELD_RETRY)
        return digest

    def has_room(self, pool: Pool, network: bytes) -> bool:
        """Return True if the network may hold one more."""
        return self._has_room(pool, self._digest(network))

    def _has_room(self, pool: Pool, digest: str) -> bool:
        held = sum(notebook.is_live and notebook.network == digest for notebook in pool)
        return may_hold_another(held, pool.limits.capacity, self._most)

    def _digest(self, network: bytes) -> str:
        return hashlib.blake2b(network, digest_size=16, key=self._secret, person=b"tmppool.network").hexdigest()


def may_hold_another(held: int, capacity: int, most: int | None) -> bool:
    """Return True if a network that holds ``held`` notebooks of a pool may get another; ``most`` None: half of it."""
    return held < (-(-capacity // 2) if most is None else most)


class StartLimits:
    """``starts_per_hour`` is per network address, 0 for no limit; ``code`` is the workshop code, if there is one.

    ``holding`` limits the notebooks that a network holds, if anything does.
    """

    def __init__(
        self,
        starts_per_hour: int,
        code: str | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        holding: HoldingLimit | None = None,
    ) -> None:
        self._holding = holding
        self._code = code or None
        self._starts = RateLimiter(starts_per_hour, clock) if starts_per_hour else None
        self._wrong_codes = RateLimiter(WRONG_CODES_PER_HOUR, clock)
        self._participants: LRUCache[str, Literal[True]] = LRUCache(_REMEMBERED)
        self._guessed: LRUCache[tuple[bytes, bytes], Literal[True]] = LRUCache(_REMEMBERED)
        self._has_warned = False

    @property
    def has_code(self) -> bool:
        """True if there is a workshop code."""
        return self._code is not None

    @contextlib.contextmanager
    def count_start(self, pool: Pool, address: str, visitor: str | None = None, code: str = "") -> Iterator[str | None]:
        """Count the start in the block, unless it raises NoNotebookError. Raises StartRefusedError over a limit.

        Yields the digest of the network whose share the notebook takes, None if it takes none. The block must put the
        notebook with it into the pool's table before it awaits anything, so that starts at the same time are counted.

        A correct ``code`` lifts the limits for this start and every later one of the same ``visitor``; programs have
        no ``visitor``, and are not remembered.
        """
        network = network_of(address)
        is_exempt = self._is_participant(network, visitor, code)
        holder = None
        if not is_exempt:
            with self._hinting(network):
                holder = None if self._holding is None else self._holding.check(pool, network)
                self._limit_rate(network, is_counted=True)
        try:
            yield holder
        except NoNotebookError:
            if self._starts is not None and not is_exempt:
                self._starts.give_back(network)
            raise

    def check_start(self, address: str, code: str = "") -> bool:
        """Return True if the code exempts the start of a program from all limits; counts nothing but wrong codes.

        Raises StartRefusedError if the start would be refused now, whatever its network holds.
        """
        network = network_of(address)
        if self._is_participant(network, None, code):
            return True
        with self._hinting(network):
            self._limit_rate(network, is_counted=False)
        return False

    def holds_share(self, pool: Pool, network: bytes) -> bool:
        """Return True if the network holds as many notebooks as one may, so that no start succeeds until one ends."""
        is_held = self._holding is not None and not self._holding.has_room(pool, network)
        if is_held:
            self._hint(network)
        return is_held

    def renew(self, visitor: str | None, successor: str) -> None:
        """Note that a visitor is known as ``successor`` from now on."""
        if visitor is not None and self._participants.pop(visitor, False):
            self._participants[successor] = True

    def _limit_rate(self, network: bytes, *, is_counted: bool) -> None:
        """Raise StartRefusedError unless the network may start another one in this hour."""
        if self._starts is None:
            return
        wait = self._starts.take(network) if is_counted else self._starts.wait(network)
        if wait:
            raise StartRefusedError("starts", wait)

    @contextlib.contextmanager
    def _hinting(self, network: bytes) -> Iterator[None]:
        try:
            yield
        except StartRefusedError:
            self._hint(network)
            raise

    def _is_participant(self, network: bytes, visitor: str | None, code: str) -> bool:
        """Return True if the code was given, now or earlier. Raises StartRefusedError for a wrong one."""
        if visitor is not None and self._participants.get(visitor, False):
            return True
        if not code or self._code is None:
            return False
        # Before the code is compared: after too many guesses a correct one must not be recognisable.
        wait = self._wrong_codes.wait(network)
        if wait:
            raise StartRefusedError("guesses", wait)
        if not is_same(code.strip(), self._code):
            self._count_wrong(network, code)
            raise StartRefusedError("code")
        if visitor is not None:
            self._participants[visitor] = True
        return True

    def _count_wrong(self, network: bytes, code: str) -> None:
        """Count a guess. The same one again tells nobody more: a whole class may have yesterday's code."""
        guess = network, hashlib.blake2b(code.strip().encode(errors="surrogateescape"), digest_size=16).digest()
        if guess not in self._guessed:
            self._wrong_codes.take(network)
        self._guessed[guess] = True

    def _hint(self, network: bytes) -> None:
        """Log once what a refusal suggests: all visitors of a proxy that is not trusted share its address."""
        if not self._has_warned and _is_private(network):
            self._has_warned = True
            _log.warning(
                "start.refused",
                message="a private client address used up --starts-per-hour or --notebooks-per-address: if it is a"
                " reverse proxy in front of this service, add it to --trusted-proxies; for a class behind one address"
                " set --workshop-code",
            )


def network_of(address: str) -> bytes:
    """Return the network that is counted as one client: an IPv4 address, or an IPv6 /64.

    A subnet is a /64 (RFC 4291 section 2.5.1), and a host may use any number of addresses in it (RFC 8981).
    All invalid addresses share one network, the empty one.
    """
    found = parse(address)
    if found is None:
        return b""
    return found.packed if found.version == 4 else found.packed[:8]  # noqa: PLR2004


def _is_private(network: bytes) -> bool:
    size = 4 if len(network) == 4 else 16  # noqa: PLR2004 - bytes of an IPv4 and an IPv6 address
    return bool(network) and ipaddress.ip_address(network.ljust(size, b"\0")).is_private
