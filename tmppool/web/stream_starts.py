"""The starts of notebooks for event streams, one for each ticket, whatever happens to the streams that wait for it.

A start that a stream waits for is never forgotten. Nor is one whose notebook no stream has told, until it is given up:
it has ``COMES_BACK`` seconds from the last cut. One that was told is remembered for the lifetime of a ticket. All of it
is in memory: as the service ends, what was not told is ended too, since nobody could come back to it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from enum import StrEnum
from typing import Any

from cachetools import TTLCache

from tmppool.errors import NoNotebookError, TmppoolError, sentence
from tmppool.notebook import Notebook
from tmppool.tasks import spawn
from tmppool.web.start_limits import StartRefusedError
from tmppool.web.tickets import LIFETIME
from tmppool.web.waiting_line import WaitingLine

COMES_BACK = 10.0  # seconds in which a page whose stream was cut asks again: EventSource does after 3 to 5
_AT_THE_END = 2.0  # seconds for assignments under way as the service ends
_MOST_TOLD = 10_000  # starts that were told and that no stream waits for, each of a notebook that was really assigned

Assign = Callable[[], Coroutine[Any, Any, Notebook]]
End = Callable[[Notebook], Coroutine[Any, Any, None]]


class Step(StrEnum):
    """The steps of a start, in order; from TAKING it comes back to WAITING if others were faster."""

    WAITING = "waiting"  # in the line
    TAKING = "taking"  # its turn has come: a notebook is being assigned
    TAKEN = "taken"  # no stream has told the notebook
    TOLD = "told"
    FAILED = "failed"


class Start:
    """A start, and the number of streams that wait for it. It enters the ``line`` when it is made.

    ``assign`` takes a notebook in its first step, or raises a TmppoolError; ``end`` ends it if nobody was told of it.
    ``is_exempt``: it need not wait for what its network holds.
    ``forget`` is called with the start when no stream will come back to it, or it was told and the last one has left.
    Raises LineFullError.
    """

    def __init__(
        self,
        line: WaitingLine,
        network: bytes,
        assign: Assign,
        end: End,
        forget: Callable[["Start"], None],
        *,
        is_exempt: bool = False,
    ) -> None:
        self.step = Step.WAITING
        self.notebook: Notebook | None = None
        self.failure = "The notebook could not be started."
        self.is_exempt = is_exempt
        self._line = line
        self._assign = assign
        self._end = end
        self._forget = forget
        self._streams = 0
        self._grace: asyncio.TimerHandle | None = None  # while a page that was cut off may come back
        self._taking: asyncio.Task[None] | None = None
        self._ends = asyncio.Event()
        line.enter(self, network)

    @property
    def may_go(self) -> bool:
        """True if it is in the line, and a stream waits for it."""
        return self.step is Step.WAITING and self._streams > 0

    @property
    def is_spoilt(self) -> bool:
        """True if it has failed, or its notebook has ended before anybody was told of it."""
        return self.step is Step.FAILED or (self.step is Step.TAKEN and not self.is_live)

    @property
    def is_over(self) -> bool:
        """True once a notebook is taken, or the start has failed."""
        return self._ends.is_set()

    @property
    def is_live(self) -> bool:
        return self.notebook is not None and self.notebook.is_live

    def go(self) -> None:
        """Take a notebook: its turn has come."""
        self.step = Step.TAKING
        self._taking = spawn(self._take(), "start for an event stream")

    def join(self) -> None:
        """Count a stream that waits for it."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        self._streams += 1
        self._line.call()

    def leave(self) -> None:
        """Count a stream less; without any, the start is given up after ``COMES_BACK`` seconds unless it was told."""
        self._streams -= 1
        if self._streams:
            return
        if self.step in (Step.TOLD, Step.FAILED):
            self._forget(self)
        else:
            self._grace = asyncio.get_running_loop().call_later(COMES_BACK, self._grace_over)

    def note_told(self) -> None:
        """Note that a stream has told the notebook: it is the page's from now on."""
        self.step = Step.TOLD

    async def close(self) -> None:
        """End what it has taken, or is taking, unless that was told."""
        if self._taking is not None:
            await asyncio.wait({self._taking}, timeout=_AT_THE_END)
        if self.step is Step.TAKEN and self.notebook is not None and self.is_live:
            await self._end(self.notebook)

    async def over(self, seconds: float) -> bool:
        """Wait until it is over, and return True; False after these seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ends.wait()
        return self.is_over

    async def _take(self) -> None:
        """Take a notebook even if no stream waits any more: it is not known how far the assignment has come."""
        try:
            self.notebook = await self._assign()
            self.step = Step.TAKEN
        except TmppoolError as error:
            self.failure = sentence(error)
            if _came_too_late(error):
                self.step = Step.WAITING
        finally:
            if self.step is Step.TAKING:
                self.step = Step.FAILED
            if self.step is not Step.WAITING:
                self._line.leave(self)
                self._ends.set()
            self._give_up_if_left()

    def _grace_over(self) -> None:
        self._grace = None
        self._give_up_if_left()

    def _give_up_if_left(self) -> None:
        """Give up a start that nobody has come back to in time. One that is taking a notebook asks again after that."""
        if self._streams or self._grace is not None or self.step is Step.TAKING:
            return
        self._line.leave(self)
        if self.notebook is not None and self.is_live:
            spawn(self._end(self.notebook), "end of a start for a stream that was cut")
        self._forget(self)


def _came_too_late(error: TmppoolError) -> bool:
    """Return True if others took what was there when the turn came: the notebook, or the network's last share."""
    is_held = isinstance(error, StartRefusedError) and error.cause == "held"
    return is_held or isinstance(error, NoNotebookError)


class StreamStarts:
    """The starts by the numbers of their tickets."""

    def __init__(self) -> None:
        self._starts: dict[str, Start] = {}  # never more than streams, waiters and untold notebooks
        self._told: TTLCache[str, Start] = TTLCache(_MOST_TOLD, LIFETIME)

    def __len__(self) -> int:
        return len(self._starts) + len(self._told)

    async def close(self) -> None:
        """End all notebooks that no stream has told."""
        await asyncio.gather(*(start.close() for start in self._starts.values()))

    @contextlib.contextmanager
    def attended(self, number: str, make: Callable[[Callable[[Start], None]], Start]) -> Iterator[Start]:
        """Count a stream that waits for the start with this number; ``make`` makes it if there is none."""
        start = self._starts.get(number) or self._told.pop(number, None)
        if start is None or start.is_spoilt:
            start = make(lambda start: self._forget(number, start))
        self._starts[number] = start
        start.join()
        try:
            yield start
        finally:
            start.leave()

    def _forget(self, number: str, start: Start) -> None:
        if self._starts.get(number) is start:  # and not one that took its place
            del self._starts[number]
            if start.step is Step.TOLD:
                self._told[number] = start
