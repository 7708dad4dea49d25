"""The event stream by which pages of other sites start notebooks, in the form of BinderHub's build API.

Sources: BinderHub (``docs/source/api.rst``, ``builder.py``), and the clients that read only parts of it: thebe-core,
which gives up at the first error of the connection, and Juniper. See HTML, section 9.2 (Server-sent events).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from aiohttp import web
from cachetools import TTLCache

from tmppool.errors import NoNotebookError, Shortage, TmppoolError, sentence
from tmppool.notebook import Notebook, Reason, Transition
from tmppool.pool import Pool
from tmppool.pools import Pools
from tmppool.running import base_path
from tmppool.sessions import Sessions
from tmppool.tasks import spawn
from tmppool.web import links, models, peer_links
from tmppool.web.answers import AnswerError
from tmppool.web.context import visit_of
from tmppool.web.enter import redirect
from tmppool.web.kinds import Kind
from tmppool.web.peer_links import PeerLink
from tmppool.web.repositories import Repositories
from tmppool.web.start_limits import StartLimits
from tmppool.web.tickets import LIFETIME, Tickets
from tmppool.web.tokens import session_token
from tmppool.web.visit import Origin, Visit

KEEPALIVE = 15.0  # seconds between two signs of life, shorter than a proxy's patience (nginx: 60 s)
_LINGER = 60.0  # seconds after the last event, in which the page closes the stream: it would ask again at its end
COMES_BACK = 10.0  # seconds in which a page whose stream was cut asks again: EventSource does after 3 to 5
_SUBJECT = "build"
_MOST_STARTS = 10_000  # that are remembered
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
    "Access-Control-Allow-Headers": "*",
    "Cache-Control": "no-store",
}
_WAITING = {
    Shortage.FULL: "All notebooks are in use. Waiting until one is free…",
    Shortage.WARMING: "A notebook is starting…",
    Shortage.BACKEND_ILL: "Notebooks cannot be started right now. Waiting until they can…",
}


class StreamError(TmppoolError):
    """Nothing is started for this stream; the message is a sentence for whoever sees the page."""


@dataclass
class _Start:
    """The notebook of one ticket. ``streams`` wait for it; ``is_told``: one of them has told its URL and token."""

    notebook: asyncio.Task[Notebook] | None = None
    streams: int = 0
    is_told: bool = False

    @property
    def is_over(self) -> bool:
        """True if there is no notebook, or no longer."""
        task = self.notebook
        if task is None or not task.done():
            return task is None
        return task.cancelled() or task.exception() is not None or not task.result().is_live


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
        self._starts: TTLCache[str, _Start] = TTLCache(_MOST_STARTS, LIFETIME)

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
        await response.prepare(request)
        ticket, number = self._ticket(request.headers.get("Last-Event-ID", ""))
        await response.write(f"id: {ticket}\n\n".encode())
        await asyncio.sleep(0)  # a stream that is cut already is cancelled here, before anything is started for it
        with self._attended(number) as start:
            async for event in self._events(visit, start):
                await response.write(b":keepalive\n\n" if event is None else _data(event))
                start.is_told = start.is_told or isinstance(event, models.Ready)
        return response

    async def preflight(self, request: web.Request) -> web.Response:
        """OPTIONS: any page may ask, and read why it gets nothing."""
        is_private = visit_of(request).asks_for_private_network
        private = {"Access-Control-Allow-Private-Network": "true"} if is_private else {}
        return web.Response(status=204, headers={**_PREFLIGHT, **private})

    def _ticket(self, last: str) -> tuple[str, str]:
        """Return the stream's ticket, which is the page's last one if that is ours, and its number."""
        number = self._tickets.number(last, _SUBJECT) if last else None
        if number is not None:
            return last, number
        ticket = self._tickets.issue(_SUBJECT)
        return ticket, str(self._tickets.number(ticket, _SUBJECT))

    @contextlib.contextmanager
    def _attended(self, number: str) -> Iterator[_Start]:
        """Count a stream that waits for the start with this number; one that nobody waits for any more is given up."""
        start = self._starts.setdefault(number, _Start())
        start.streams += 1
        try:
            yield start
        finally:
            start.streams -= 1
            self._starts[number] = start  # for its lifetime from now on
            if not start.streams:
                self._leave(number, start)

    def _leave(self, number: str, start: _Start) -> None:
        """Forget a start that never began; see later whether anybody has come back to one that told nothing."""
        if start.notebook is None:
            self._starts.pop(number, None)  # streams that get nothing leave others theirs
        elif not start.is_told and not start.is_over:
            asyncio.get_running_loop().call_later(
                COMES_BACK, lambda: spawn(self._give_up(start), "end of a start for a stream that was cut")
            )

    async def _give_up(self, start: _Start) -> None:
        """End the notebook of a start whose page was cut off before it knew the token, and has not come back."""
        if start.notebook is None or start.streams or start.is_told:
            return
        await asyncio.wait({start.notebook})
        if start.is_over or start.streams or start.is_told:
            return
        found = self._pools.find(start.notebook.result().key)
        if found is not None:
            await self._sessions.end(*found, Reason.UNOPENED)

    async def _events(self, visit: Visit, start: _Start) -> AsyncIterator[models.BuildEvent | models.Ready | None]:
        """Yield what happens, None for a sign of life, until the page has had time to close the stream."""
        try:
            _check_sender(visit)
            pool = self._pool(visit)
            async for event in self._until_ready(visit, pool, start):
                yield event
        except TmppoolError as error:
            yield models.BuildEvent(phase="failed", message=sentence(error))
        for _ in range(round(_LINGER / KEEPALIVE)):
            await asyncio.sleep(KEEPALIVE)
            yield None

    def _pool(self, visit: Visit) -> Pool:
        """Return the pool of the repository. Raises PeerLinkError, UnknownRepositoryError."""
        provider, _, spec = links.plain(visit.target).partition("?")[0].removeprefix("/build/").partition("/")
        repository = peer_links.repository_of(provider, spec)
        place = self._table.place(PeerLink(repository))
        pool = self._pools.get(place.pool)
        assert pool is not None, "the settings name pools that are configured"
        return pool

    async def _until_ready(
        self, visit: Visit, pool: Pool, start: _Start
    ) -> AsyncIterator[models.BuildEvent | models.Ready | None]:
        yield models.BuildEvent(phase="waiting", message="Waiting for a notebook…")
        said = ""
        changed = asyncio.Event()

        def hear(_fact: Transition) -> None:
            changed.set()

        pool.listen(hear)
        try:
            while True:
                changed.clear()
                try:
                    notebook = await self._start(visit, pool, start)
                    break
                except NoNotebookError as error:
                    if error.cause is not said:
                        said = error.cause
                        yield models.BuildEvent(phase="waiting", message=_WAITING[error.cause])
                try:
                    async with asyncio.timeout(KEEPALIVE):
                        await changed.wait()
                except TimeoutError:
                    yield None
        finally:
            pool.unlisten(hear)
        yield _ready(visit, pool, notebook)

    async def _start(self, visit: Visit, pool: Pool, start: _Start) -> Notebook:
        """Return the stream's notebook: a second one for the same ticket gets the same.

        A page that has learnt of its notebook gets no other by itself, for as long as it stays open: it would take one
        after the other, and nobody may be there. Raises StreamError; NoNotebookError.
        """
        if start.is_told and start.is_over:
            raise StreamError("The notebook of this page has ended. Load the page anew for another one.")
        if start.notebook is None or start.is_over:
            start.notebook = spawn(self._assign(visit, pool), "start for an event stream", awaited=True)
        await asyncio.wait({start.notebook})  # which goes on if this stream is cut
        return start.notebook.result()

    async def _assign(self, visit: Visit, pool: Pool) -> Notebook:
        with self._limits.count_start(pool, visit.client.address, code=links.code_of(visit.target)) as network:
            return await self._sessions.assign(pool, visitor=None, network=network)


def _check_sender(visit: Visit) -> None:
    """Raise StreamError unless the page of an allowed origin asks, in a browser that is no crawler's."""
    first = visit.request.fields.first
    is_page = b"origin" in first or first.get(b"sec-fetch-site", b"none") != b"none"
    if not is_page or visit.is_prefetch or visit.is_crawler:
        raise StreamError("Only a page in a browser can start a notebook here; programs use POST /api/spawn.")
    if visit.origin is Origin.FOREIGN:
        origin = first.get(b"origin", b"this site").decode("latin-1")[:200]
        raise StreamError(f"Pages of {origin} may not start notebooks here: the operator lists it in --embed-origins.")


def _ready(visit: Visit, pool: Pool, notebook: Notebook) -> models.Ready:
    url = visit.origin_of(notebook.id) + base_path(notebook.key)
    return models.Ready(message=f"Your notebook is at {url}", url=url, token=session_token(notebook), pool=pool.name)


def _data(event: models.Body) -> bytes:
    return f"data: {event.model_dump_json()}\n\n".encode()
