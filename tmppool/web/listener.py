"""Listening sockets, and aiohttp's server on them; the public one with our own connections."""

import asyncio
import contextlib
import socket

from aiohttp import web

from tmppool.proxy.connection import Connection, Decide

_BACKLOG = 1024  # connections
_SHUTDOWN = 5.0  # seconds for requests under way when the service ends


def bind(address: str | None, port: int) -> socket.socket:
    """Listen on ``address``, on all of them for None. Raises OSError. Who connects waits until it is served."""
    if address is None and socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
    family = socket.AF_INET6 if address is not None and ":" in address else socket.AF_INET
    return socket.create_server((address or "", port), family=family, backlog=_BACKLOG)


async def serve(
    stack: contextlib.AsyncExitStack, app: web.Application, sock: socket.socket, decide: Decide | None = None
) -> None:
    """Serve ``app`` until ``stack`` is left; with ``decide`` some requests go to notebooks instead."""
    # A visitor who leaves ends the handler too; what must be finished is shielded where it is done.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    if decide is None:
        await web.SockSite(runner, sock, backlog=_BACKLOG).start()
        return
    loop, server = asyncio.get_running_loop(), runner.server
    assert server is not None
    listening = await loop.create_server(lambda: Connection(server, decide, loop), sock=sock, backlog=_BACKLOG)
    stack.callback(listening.close)
