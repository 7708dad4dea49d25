"""Where a connection comes in: counted, and turned away before anything is built for one that is too many."""

import asyncio
from collections.abc import Callable
from typing import cast

import structlog

from tmppool.proxy.connection import Connection
from tmppool.proxy.connection_counts import ConnectionCounts, Entry
from tmppool.proxy.linger import Linger, refusal
from tmppool.proxy.sweep import Sweep
from tmppool.proxy.timeouts import Timeouts

_MAX_TURNED_AWAY = 64  # connections that hear why; more than these are closed without a word
_PAUSE_OF_WARNINGS = 60.0  # seconds
_ANSWERS = {
    Entry.TOO_MANY_FROM_THERE: (429, "Too many connections from your address. Please try again in a minute."),
    Entry.FULL: (503, "Too many visitors at this moment. Please try again in a minute."),
}

_log = structlog.get_logger("tmppool.proxy")


class Gatekeeper:
    """What all doors of one listener share. ``make`` is given an address and what to call when its visitor left."""

    def __init__(
        self,
        crowd: ConnectionCounts,
        sweep: Sweep,
        timeouts: Timeouts,
        make: Callable[[str, Callable[[], None]], Connection],
    ) -> None:
        self.crowd = crowd
        self.sweep = sweep
        self.timeouts = timeouts
        self.make = make
        self.turned_away = 0
        self._warned_at = float("-inf")

    def warn(self, entry: Entry, now: float) -> None:
        """Tell the operator, who has no use for one line for each of thousands."""
        if now - self._warned_at >= _PAUSE_OF_WARNINGS:
            self._warned_at = now
            _log.warning("visitors.turned_away", message=entry.value)


class Acceptor(asyncio.Protocol):
    """One connection until it is known whether it comes in."""

    def __init__(self, hall: Gatekeeper) -> None:
        self._hall = hall
        self._answer = b""
        self._until = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", made)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]).removeprefix("::ffff:") if peer else ""
        crowd = self._hall.crowd
        entry = crowd.enter(address)
        if entry is not Entry.ADMITTED:
            self._turn_away(transport, entry)
            return
        visitor = self._hall.make(address, lambda: crowd.leave(address))
        transport.set_protocol(visitor)
        visitor.connection_made(transport)

    def _turn_away(self, transport: asyncio.Transport, entry: Entry) -> None:
        hall, now = self._hall, self._hall.sweep.time()
        hall.warn(entry, now)
        if hall.turned_away >= _MAX_TURNED_AWAY:
            transport.abort()
            return
        hall.turned_away += 1
        status, text = _ANSWERS[entry]
        self._answer = refusal(status, text, b"Retry-After: 60\r\n")
        self._transport, self._until = transport, now + hall.timeouts.parting
        hall.sweep.add(self)

    def look(self, now: float) -> None:
        if now > self._until:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """The answer comes after the request: a browser drops a connection on which something came before."""
        del data
        hall = self._hall
        hall.sweep.discard(self)
        Linger(self._transport, self._answer, hall.sweep, hall.timeouts.parting, self.connection_lost)

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if self._answer:
            self._hall.sweep.discard(self)
            self._hall.turned_away -= 1
