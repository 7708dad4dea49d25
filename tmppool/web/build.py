"""The event stream by which pages of other sites start notebooks, in the form of BinderHub's build API.

Sources: BinderHub (``docs/source/api.rst``, ``builder.py``), and the clients that read only parts of it: thebe-core,
which gives up at the first error of the connection, and Juniper. See HTML, section 9.2 (Server-sent events).
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Callable
from typing import Any, Literal
from weakref import WeakSet

from aiohttp import web

from tmppool.errors import Shortage, TmppoolError, sentence
from tmppool.notebook import Notebook, Reason
from tmppool.pool import Pool
from tmppool.pools import Pools
from tmppool.running import base_path
from tmppool.sessions import Sessions
from tmppool.web import links, models, peer_links
from tmppool.web.answers import AnswerError
from tmppool.web.context import visit_of
from tmppool.web.enter import redirect
from tmppool.web.kinds import Kind
from tmppool.web.peer_links import PeerLink
from tmppool.web.repositories import Repositories
from tmppool.web.start_limits import StartLimits, network_of
from tmppool.web.stream_starts import Start, Step, StreamStarts
from tmppool.web.tickets import Tickets
from tmppool.web.tokens import session_token
from tmppool.web.visit import Origin, Visit
from tmppool.web.waiting_line import WaitingLine

KEEPALIVE = 15.0  # seconds between two signs of life, shorter than a proxy's patience (nginx: 60 s)
_LINGER = 60.0  # seconds after the last event, in which the page closes the stream: it would ask again at its end
_SIGN_OF_LIFE = b":keepalive\n\n"
_EVENT_STREAM = b"text/event-stream"
_HEADERS = {
    "Content-Type": _EVENT_STREAM.decode(),
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx
    "Access-Control-Allow-Origin": "*",  # who may not start a notebook is told so, and learns no more
}
# EventSource asks for none; a script that reads the stream by itself may add fields, such as Last-Event-ID.
_PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET",
    "Access-Control-Allow-Headers": "Authorization, *",  # * never means Authorization
    "Cache-Control": "no-store",
}
_WAITING = {
    Shortage.FULL: "All notebooks are in use. Waiting until one is free…",
    Shortage.WARMING: "A notebook is starting…",
    Shortage.BACKEND_ILL: "Notebooks cannot be started right now. Waiting until they can…",
}
_HELD_BACK = "Your network address holds as many notebooks as one address may. Waiting until one of them ends…"


class StreamError(TmppoolError):
    """Nothing is started for this stream; the message is a sentence for whoever sees the page."""


class Build:
    """``tickets`` number the streams: a page that was cut off comes back with its own (Last-Event-ID)."""

    def __init__(
        self, pools: Pools, sessions: Sessions, limits: StartLimits, tickets: Tickets, table: Repositories
    ) -> None:
        self._pools = pools
        self._sessions = sessions
        self._limits = limits
        self._tickets = tickets
        self._table = table
        self._starts = StreamStarts()
        self._streams: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._lines = {
            pool.name: WaitingLine(
                pool, functools.partial(sessions.shortage, pool), functools.partial(limits.holds_share, pool)
            )
            for pool in pools
        }

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """GET: assign a notebook to the page that asks, and tell its URL and token; a person is led to the page."""
        visit = visit_of(request)
        if _EVENT_STREAM not in visit.request.fields.first.get(b"accept", b""):
            if visit.wants_page:
                return redirect(links.plain(visit.target).replace("/build/", "/v2/", 1))
            raise AnswerError(Kind.NO_STREAM)
        response = web.StreamResponse(headers=_HEADERS)
        if request.method == "HEAD":
            return response  # a look, which starts nothing
        if (task := asyncio.current_task()) is not None:
            self._streams.add(task)
        await response.prepare(request)
        async with contextlib.aclosing(self._said(visit, request.headers.get("Last-Event-ID", ""))) as said:
            async for piece in said:
                await response.write(piece)
        return response

    async def cut(self, app: web.Application) -> None:
        """Cut all streams, as the service ends: none would end by itself.

        Their pages ask again, and the next service knows nothing of their starts.
        """
        del app
        for stream in list(self._streams):
            stream.cancel()
        await self._starts.close()

    async def preflight(self, request: web.Request) -> web.Response:
        """OPTIONS: any page may ask, and read why it gets nothing."""
        is_private = visit_of(request).asks_for_private_network
        private = {"Access-Control-Allow-Private-Network": "true"} if is_private else {}
        return web.Response(status=204, headers={**_PREFLIGHT, **private})

    async def _said(self, visit: Visit, last: str) -> AsyncGenerator[bytes, None]:
        """Yield the stream, piece by piece, until the page has had time to close it."""
        try:
            _check_sender(visit)
            pool = self._pool(visit)
            ticket, number = self._ticket(pool, last)
            yield f"id: {ticket}\n\n".encode()
            await asyncio.sleep(0)  # a stream that is cut already is cancelled here, before anything is started for it
            yield _event("waiting", "Waiting for a notebook…")
            with self._starts.attended(number, functools.partial(self._start, visit, pool)) as start:
                async for piece in self._waited(pool, start):
                    yield piece
                yield _data(_ready(visit, pool, _notebook_of(start)))
                start.note_told()
        except TmppoolError as error:
            yield _event("failed", sentence(error))
        for _ in range(round(_LINGER / KEEPALIVE)):
            await asyncio.sleep(KEEPALIVE)
            yield _SIGN_OF_LIFE

    async def _waited(self, pool: Pool, start: Start) -> AsyncGenerator[bytes, None]:
        """Yield why the start has to wait, and signs of life, until it is over."""
        said = None
        while not start.is_over:
            why = self._reason(pool, start)
            if why is not None and why is not said:
                said = why
                yield _event("waiting", why)
            if not await start.over(KEEPALIVE):
                yield _SIGN_OF_LIFE

    def _reason(self, pool: Pool, start: Start) -> str | None:
        """Return why the start has to wait; None if its turn may come at any moment."""
        if start.step is not Step.WAITING:
            return None
        why = self._lines[pool.name].shortage()
        if why is not None:
            return _WAITING[why]
        return _HELD_BACK if self._lines[pool.name].holds_back(start) else None

    def _pool(self, visit: Visit) -> Pool:
        """Return the pool of the repository. Raises PeerLinkError, UnknownRepositoryError."""
        provider, _, spec = links.plain(visit.target).partition("?")[0].removeprefix("/build/").partition("/")
        repository = peer_links.repository_of(provider, spec)
        place = self._table.place(PeerLink(repository))
        pool = self._pools.get(place.pool)
        assert pool is not None, "the settings name pools that are configured"
        return pool

    def _ticket(self, pool: Pool, last: str) -> tuple[str, str]:
        """Return the stream's ticket, which is the page's last one if we issued it for this pool, and its number."""
        subject = f"build {pool.name}"
        number = self._tickets.number(last, subject) if last else None
        if number is not None:
            return last, number
        ticket = self._tickets.issue(subject)
        return ticket, str(self._tickets.number(ticket, subject))

    def _start(self, visit: Visit, pool: Pool, forget: Callable[[Start], None]) -> Start:
        """Put a start into the pool's line. Raises StartRefusedError, LineFullError: who gets none need not wait."""
        address = visit.client.address
        is_exempt = self._limits.check_start(address, links.code_of(visit.target))
        assign = functools.partial(self._assign, pool, address, is_exempt=is_exempt)
        return Start(self._lines[pool.name], network_of(address), assign, self._end, forget, is_exempt=is_exempt)

    async def _assign(self, pool: Pool, address: str, *, is_exempt: bool) -> Notebook:
        """Assign a notebook. The code was checked when the start was made, and counts for as long as it waits."""
        with contextlib.nullcontext() if is_exempt else self._limits.count_start(pool, address) as network:
            return await self._sessions.assign(pool, visitor=None, network=network)

    async def _end(self, notebook: Notebook) -> None:
        found = self._pools.find(notebook.key)
        if found is not None:
            await self._sessions.end(*found, Reason.UNOPENED)


def _notebook_of(start: Start) -> Notebook:
    """Return the notebook of a start that is over. Raises StreamError.

    A page that has learnt of its notebook gets no other by itself, for as long as it stays open: it would take one
    after the other, and nobody may be there.
    """
    if start.notebook is None or start.is_spoilt:
        raise StreamError(start.failure)
    if not start.is_live:
        raise StreamError("The notebook of this page has ended. Load the page anew for another one.")
    return start.notebook


def _check_sender(visit: Visit) -> None:
    """Raise StreamError unless the page of an allowed origin asks, in a browser that is no crawler's."""
    first = visit.request.fields.first
    is_page = b"origin" in first or first.get(b"sec-fetch-site", b"none") != b"none"
    if not is_page or visit.is_prefetch or visit.is_crawler:
        raise StreamError("Only a page in a browser can start a notebook here; programs use POST /api/spawn.")
    if visit.origin not in (Origin.SAME, Origin.FRIEND):
        origin = first.get(b"origin", b"this site").decode("latin-1")[:200]
        raise StreamError(f"Pages of {origin} may not start notebooks here: the operator lists it in --embed-origins.")


def _ready(visit: Visit, pool: Pool, notebook: Notebook) -> models.Ready:
    url = visit.origin_of(notebook.id) + base_path(notebook.key)
    return models.Ready(message=f"Your notebook is at {url}", url=url, token=session_token(notebook), pool=pool.name)


def _event(phase: Literal["waiting", "failed"], message: str) -> bytes:
    return _data(models.BuildEvent(phase=phase, message=message))


def _data(event: models.Body) -> bytes:
    return f"data: {event.model_dump_json()}\n\n".encode()
