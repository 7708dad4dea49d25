"""A limit on the head of a response that the service's own client reads, the interim responses before it included.

aiohttp reads interim (1xx) responses without end, and each costs ten times what it costs its sender: at 5 s for one
request, a notebook that sends nothing else would delay everybody for as long.
"""

import asyncio

import aiohttp
from aiohttp.connector import Connection

_MAX_HEAD = 64 * 1024  # bytes until the head is read, with what of the body came along


class HeadLimitedResponse(aiohttp.ClientResponse):
    """A response whose connection is aborted if its head does not end soon. Bodies are for its reader to limit."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        transport, protocol = connection.transport, connection.protocol
        if transport is None or protocol is None:  # it was lost already, which aiohttp will say
            return await super().start(connection)
        transport.set_protocol(_Counted(transport, protocol))
        try:
            return await super().start(connection)
        finally:
            transport.set_protocol(protocol)


class _Counted(asyncio.Protocol):
    """Passes what arrives on to aiohttp's ``protocol``, up to ``_MAX_HEAD`` bytes."""

    def __init__(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        self._transport = transport
        self._left = _MAX_HEAD
        self.connection_lost = protocol.connection_lost  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]
        self._pass_on = protocol.data_received

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()
        else:
            self._pass_on(data)
