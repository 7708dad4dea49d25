"""Listening sockets, and the server on them: our own connections, with their limits, in front of aiohttp."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web

from tmppool.proxy.accept import Acceptor, Gatekeeper
from tmppool.proxy.application import Application
from tmppool.proxy.connection import Connection
from tmppool.proxy.connection_context import ConnectionContext
from tmppool.proxy.connection_counts import ConnectionCounts
from tmppool.proxy.fairness import TurnQueue
from tmppool.proxy.forwarded import Network
from tmppool.proxy.route import Decide
from tmppool.proxy.timeouts import Timeouts
from tmppool.proxy.watchdog import Watchdog

_BACKLOG = 1024  # connections
_SHUTDOWN = 5.0  # seconds for requests under way when the service ends
# Accepted sockets inherit these options. A peer that vanished is detected within two minutes: keepalive probes start
# after 30 seconds of silence, and the connection ends after 90 seconds without an acknowledgement (tcp(7)).
_OPTIONS = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in {
        "TCP_KEEPIDLE": 30,  # seconds
        "TCP_KEEPINTVL": 10,  # seconds
        "TCP_KEEPCNT": 6,
        "TCP_USER_TIMEOUT": 90_000,  # milliseconds
        "TCP_NOTSENT_LOWAT": 128 * 1024,  # unsent bytes that the kernel buffers
    }.items()
    if hasattr(socket, name)
]
_ENOUGH = 1 << 20  # descriptors; requested if there is no hard limit
_RESERVE = 0.1  # of all descriptors: for admin, health, the ledger and the engine


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """The limits on visitors. ``connections_per_address`` and ``upload_limit`` (bytes): 0 for no limit.

    ``trusted``: the proxies in front, each of which connects for many visitors.
    """

    timeouts: Timeouts = field(default_factory=Timeouts)
    connections_per_address: int = 0
    upload_limit: int = 0
    trusted: Sequence[Network] = ()


def raise_descriptors() -> None:
    """Raise the soft limit on descriptors to the hard limit: a shell's default is enough for few visitors only."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else hard
    with contextlib.suppress(OSError, ValueError):  # then the limit stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connection_capacity() -> int:
    """Return the number of connections for which there are descriptors, with an upstream connection for each."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return int((_ENOUGH if soft == resource.RLIM_INFINITY else soft) * (1 - _RESERVE) / 2)


def bind(address: str | None, port: int) -> socket.socket:
    """Listen on ``address``; None: on all. Clients that connect before ``serve`` wait. Raises OSError."""
    if address is None and socket.has_dualstack_ipv6():
        sock = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
    else:
        family = socket.AF_INET6 if address is not None and ":" in address else socket.AF_INET
        sock = socket.create_server((address or "", port), family=family, backlog=_BACKLOG)
    for level, option, value in _OPTIONS:
        sock.setsockopt(level, option, value)
    return sock


async def serve(
    stack: contextlib.AsyncExitStack,
    app: web.Application,
    sock: socket.socket,
    decide: Decide,
    terms: ListenerLimits = ListenerLimits(),
) -> None:
    """Serve ``app``, and the notebooks to which ``decide`` routes requests, until ``stack`` is closed."""
    loop = asyncio.get_running_loop()
    watchdog = Watchdog(loop, terms.timeouts.check_interval)
    stack.callback(watchdog.close)
    turns = TurnQueue(loop)
    stack.callback(turns.close)
    application = Application(app, _SHUTDOWN)
    await application.open()
    stack.push_async_callback(application.close)
    context = ConnectionContext(application, decide, watchdog, turns, terms.timeouts, terms.upload_limit)
    counts = ConnectionCounts(connection_capacity(), terms.connections_per_address, terms.trusted)
    gate = Gatekeeper(counts, watchdog, terms.timeouts, lambda peer, on_lost: Connection(context, peer, on_lost))
    listening = await loop.create_server(lambda: Acceptor(gate), sock=sock, backlog=_BACKLOG)
    stack.callback(listening.close)
