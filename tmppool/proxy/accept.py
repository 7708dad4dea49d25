"""Accepts connections: each is counted, and one too many is turned away before anything is built for it."""

import asyncio
from collections.abc import Callable
from typing import cast

import structlog

from tmppool.proxy.connection import Connection
from tmppool.proxy.connection_counts import Acceptance, ConnectionCounts
from tmppool.proxy.faults import Fault
from tmppool.proxy.linger import Linger
from tmppool.proxy.rare_warning import RareWarning
from tmppool.proxy.refusals import refusal
from tmppool.proxy.timeouts import Timeouts
from tmppool.proxy.watchdog import Watchdog

_MAX_TURNED_AWAY = 64  # connections that are told why; any more are closed without a word
_FAULTS = {
    Acceptance.TOO_MANY_FROM_ADDRESS: Fault.TOO_MANY_FROM_ADDRESS,
    Acceptance.TOO_MANY: Fault.TOO_MANY_CONNECTIONS,
}

_log = structlog.get_logger("tmppool.proxy")


class Gatekeeper:
    """The counts, limits and warnings of one listener's acceptors.

    ``make`` returns the connection for an address; it is given what to call when the connection is lost.
    """

    def __init__(
        self,
        counts: ConnectionCounts,
        watchdog: Watchdog,
        timeouts: Timeouts,
        make: Callable[[str, Callable[[], None]], Connection],
    ) -> None:
        self.counts = counts
        self.watchdog = watchdog
        self.timeouts = timeouts
        self.make = make
        self.turned_away = 0
        self._refusals = RareWarning()

    def warn(self, acceptance: Acceptance, now: float) -> None:
        """Warn the operator, once a minute at most: a line for each of thousands helps nobody."""
        count = self._refusals.note(now)
        if count:
            _log.warning("connections.refused", message=acceptance.value, count=count)


class Acceptor(asyncio.Protocol):
    """One connection until it is admitted or turned away."""

    def __init__(self, gate: Gatekeeper) -> None:
        self._gate = gate
        self._answer = b""
        self._until = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", made)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]).removeprefix("::ffff:") if peer else ""
        counts = self._gate.counts
        acceptance = counts.enter(address)
        if acceptance is not Acceptance.ADMITTED:
            self._turn_away(transport, acceptance)
            return
        connection = self._gate.make(address, lambda: counts.leave(address))
        transport.set_protocol(connection)
        connection.connection_made(transport)

    def _turn_away(self, transport: asyncio.Transport, acceptance: Acceptance) -> None:
        gate, now = self._gate, self._gate.watchdog.time()
        gate.warn(acceptance, now)
        if gate.turned_away >= _MAX_TURNED_AWAY:
            transport.abort()
            return
        gate.turned_away += 1
        self._answer = refusal(_FAULTS[acceptance])
        self._transport, self._until = transport, now + gate.timeouts.linger
        gate.watchdog.add(self)

    def check(self, now: float) -> None:
        if now > self._until:
            self._transport.abort()

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """The answer comes after the request: a browser drops a connection on which something came before."""
        del data
        gate = self._gate
        gate.watchdog.discard(self)
        Linger(self._transport, self._answer, gate.watchdog, gate.timeouts.linger, self.connection_lost)

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if self._answer:
            self._gate.watchdog.discard(self)
            self._gate.turned_away -= 1
