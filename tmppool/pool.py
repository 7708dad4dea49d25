"""The table of one pool's notebooks, which is also the proxy's routing table.

Invariants: state changes only in synchronous functions, with no ``await`` between check and change, so that one event
loop needs no lock; slow work (start, stop, ask) runs in a task after the change. A notebook is in the table before its
backend starts it, so the capacity cannot be exceeded. A visitor waits for the pool, never for one start, and a visitor
who leaves never cancels a start.
"""

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import Any

from tmppool import keys
from tmppool.backends.base import Backend, Edition
from tmppool.backoff import Backoff
from tmppool.errors import BackendError, NoNotebookError, Shortage, StartError, UnaskedError, what_failed
from tmppool.incidents import (
    BackendFailed,
    BackendRecovered,
    Incident,
    KernelsQueryFailed,
    ListenerFailed,
    OrphanStopped,
    StartCrashed,
    StartFailed,
    StopFailed,
)
from tmppool.jupyter import JupyterClient
from tmppool.marks import Marks
from tmppool.notebook import OWN_ENDS, Notebook, Place, Reason, State, Transition
from tmppool.policy import Limits, Plan, plan
from tmppool.retries import Retries
from tmppool.running import Given, Running
from tmppool.starts import Starts, Trouble
from tmppool.tasks import finish, spawn

Listener = Callable[[Transition], None]
IncidentListener = Callable[[Incident], None]

_STOP_RETRY = 5.0  # most seconds before stopping is retried, fewer at first and when the backend recovers
_LAST_LIST = 5.0  # seconds for the backend to tell what still runs when the pool is closed
_PARTING = 3.0  # most seconds that a service which leaves its notebooks running waits for those that it was stopping
_TAIL = 8  # log lines in the incident of a failed start
_FULL_RETRY = 30  # Retry-After of a full pool, in seconds


class Phase(StrEnum):
    """The phases of a pool."""

    ADOPTING = "adopting"  # running notebooks are being adopted; ticks do nothing, so none is started or reaped
    OPEN = "open"
    CLOSING = "closing"  # nothing is started, adopted or ended but by ``close`` itself: the next service decides


PHASES: dict[Phase, frozenset[Phase]] = {
    Phase.ADOPTING: frozenset({Phase.OPEN, Phase.CLOSING}),
    Phase.OPEN: frozenset({Phase.CLOSING}),
    Phase.CLOSING: frozenset(),
}


class Pool:
    """The notebooks of one named pool, of one edition or several. ``clock`` returns monotonic seconds.

    The ``listeners`` are called with every transition, after its consequences are under way, the ``incident_listeners``
    with every incident; they must not block. If one raises, the pool and the other listeners go on, and the error is
    reported as an incident; an incident listener's goes to the event loop's exception handler.
    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        editions: Iterable[Edition],
        limits: Limits,
        listeners: Iterable[Listener] = (),
        clock: Callable[[], float] = time.monotonic,
        key_bytes: int = 16,
        connect: Callable[[Running], JupyterClient] = JupyterClient,
        incident_listeners: Iterable[IncidentListener] = (),
    ) -> None:
        self.name = name
        self.backend = backend
        self.editions = {edition.id: edition for edition in editions}
        self.limits = limits
        self.clock = clock
        self.starts = Starts(clock())
        self.phase = Phase.ADOPTING
        self.missed: set[str] = set()  # keys of what the backend lacked at the start, and whose ends nobody saw
        self.stuck: dict[str, str] = {}  # by key of what could not be stopped, why the last try failed
        self.foreign: set[str] = set()  # keys of what another service with this name has assigned
        self._retries = Retries()
        self.marks = Marks(backend, self.report, self._retries, self._to_assign, clock)
        self._illness: Trouble | None = None  # while the backend does not answer
        self._places: dict[str, Place] = {}
        self._orphans: set[str] = set()  # keys of those that are being stopped
        self._doubted: set[str] = set()  # keys of warm and assigned notebooks that were reported dead
        self._listeners = list(listeners)
        self._incident_listeners = list(incident_listeners)
        self._key_bytes = key_bytes
        self._connect = connect
        self._work: set[asyncio.Task[None]] = set()
        self._questions: set[asyncio.Task[None]] = set()  # those of them that only find something out
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._asking: set[str] = set()
        self._woken = False
        self._sleeper: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.count(state)} {state}" for state in State if self.count(state))
        return f"<Pool {self.name} [{counts or 'empty'}] of {self.limits.capacity}>"

    def __iter__(self) -> Iterator[Notebook]:
        """Iterate over the notebooks that run or are being stopped."""
        return iter([place for place in self._places.values() if isinstance(place, Notebook)])

    def __contains__(self, key: str) -> bool:
        return key in self._places

    @property
    def places(self) -> list[Place]:
        """All places that are taken, including those of notebooks that are being started."""
        return list(self._places.values())

    def count(self, state: State) -> int:
        return sum(place.state is state for place in self._places.values())

    def find(self, key: str) -> Notebook | None:
        """Return the assigned notebook of ``key``, or None. The proxy reaches only what this returns."""
        notebook = self._places.get(key)
        return notebook if isinstance(notebook, Notebook) and notebook.is_live else None

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def report(self, incident: Incident) -> None:
        for hear in self._incident_listeners:
            try:
                hear(incident)
            except Exception as error:
                context = {"message": f"a listener failed to hear {incident!r}", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)

    def run(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run ``work``, which only finds something out, in a task. ``close`` cancels it: nobody would act on it."""
        task = self._do(work, name)
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)
        if self.phase is Phase.CLOSING:
            task.cancel()
        return task

    # Room for a roll-out: nothing in the service changes the editions of a pool yet.
    def serve(self, editions: Iterable[Edition]) -> None:
        """Serve these editions from now on, by weight. Ticks replace other warm notebooks; sessions continue."""
        self.editions = {edition.id: edition for edition in editions}
        self.wake()

    # Phases

    def open(self) -> None:
        """End adoption and enable ticks. Raises ValueError unless the pool is ADOPTING."""
        self._become(Phase.OPEN)

    def _become(self, phase: Phase) -> None:
        if phase not in PHASES[self.phase]:
            raise ValueError(f"{self!r} is {self.phase} and may not become {phase}")
        self.phase = phase

    @property
    def illness(self) -> Trouble | None:
        """The fault of the backend while it does not answer, or cannot mark what is assigned."""
        return self._illness or self.marks.trouble

    def note_illness(self, error: BackendError | None) -> None:
        """Record what the backend was found to be, None for well; a change is an incident."""
        if error is None:
            was, self._illness = self._illness, None
            if was is not None:
                self._retries.resume()
                self.report(BackendRecovered(self.name))
                self.starts.forget(self.clock())
                self.wake()
            return
        was, since = self._illness, self._illness.since if self._illness else self.clock()
        self._illness = Trouble(str(error), since)
        if was is None or was.error != str(error):
            self.report(BackendFailed(self.name, str(error)))

    # Doubt

    @property
    def doubted(self) -> frozenset[str]:
        """The keys of notebooks that were reported dead and are being checked; meanwhile none is assigned."""
        return frozenset(self._doubted)

    def doubt(self, key: str) -> None:
        """Do not assign this notebook until ``trust``. No effect unless it is warm or assigned."""
        place = self._places.get(key)
        if place is not None and place.state in (State.WARM, State.ASSIGNED):
            self._doubted.add(key)

    def trust(self, key: str) -> None:
        """End the doubt about a notebook that is alive."""
        self._doubted.discard(key)

    # Moving

    def assign(self, visitor: str | None, network: str | None = None) -> Notebook:
        """Assign the oldest warm notebook, preferring wanted editions. Raises NoNotebookError."""
        notebook = self._next()
        if notebook is None:
            raise self._none_warm()
        now = self.clock()
        expires_at = now + self.limits.lifetime if self.limits.lifetime else None
        notebook.begin(visitor, now, expires_at, network=network)
        fact = self._move(notebook, State.ASSIGNED, Reason.CLICK)
        self.marks.set(notebook)
        self._notify(fact)
        return notebook

    @property
    def shortage(self) -> Shortage | None:
        """The reason for which ``assign`` would raise NoNotebookError now; None if it would not."""
        return None if self._next() is not None else self._none_warm().cause

    def touch(self, notebook: Notebook) -> None:
        """Note the visitor's activity."""
        notebook.touch(self.clock())

    def reap(self, place: Place, reason: Reason) -> None:
        """End a notebook, or cancel its start. Idempotent; no effect while the pool is CLOSING."""
        if self.phase is not Phase.CLOSING:
            self._reap(place, reason)

    def reap_unusable(self, notebook: Notebook) -> None:
        """Reap a notebook that turned out to be dead as it was assigned: if it was young, that is a failed start."""
        self._ended_young(notebook, Reason.LOST)
        self.reap(notebook, Reason.LOST)

    def leave(self, notebook: Notebook) -> None:
        """Remove a notebook that is another service's from the table, without stopping it, for good."""
        self.foreign.add(notebook.key)
        fact = self._move(notebook, State.GONE, Reason.FAILED)
        self._do(notebook.jupyter.close(), f"leave {notebook.id}")
        self._notify(fact)

    def drain(self) -> int:
        """Reap every notebook that is not assigned; return their number. Sessions continue."""
        drained = [place for place in self.places if place.state in (State.WARM, State.STARTING)]
        for place in drained:
            self.reap(place, Reason.DRAINED)
        return len(drained)

    def tick(self) -> None:
        """Plan once and carry out the plan."""
        self._woken = False
        if self.phase is not Phase.OPEN:
            return
        now = self.clock()
        decided = self._plan(now)
        for notebook, reason in decided.reap:
            self.reap(notebook, reason)
        for notebook in decided.ask:
            if notebook.key not in self._asking:
                self._asking.add(notebook.key)
                self.run(self._ask(notebook), f"ask {notebook.id}")
        for edition in decided.start:
            place = Place(keys.new(self._key_bytes), self.name, now, edition)
            self._places[place.key] = place
            work = self._start(place, self.editions[edition])
            task = self._starting[place.key] = self._do(work, f"start {place.id}")
            task.add_done_callback(functools.partial(self._start_ended, place))
        self._sleep(now)

    def _plan(self, now: float) -> Plan:
        for notebook in self:
            if notebook.ready_at is not None:
                self.starts.lived(notebook.ready_at, now)
        limits = replace(self.limits, parallel_starts=self.starts.at_once(self.limits.parallel_starts))
        weights = {edition.id: edition.weight for edition in self.editions.values()}
        may_start, is_proof_due = self.starts.backoff.may_try(now), self.starts.is_proof_due(now)
        return plan(self._places.values(), limits, weights, now, may_start=may_start, is_proof_due=is_proof_due)

    def _sleep(self, now: float) -> None:
        """Schedule a tick for the time at which a start may be tried again, or is known to have succeeded."""
        if self._sleeper is not None:
            self._sleeper.cancel()
        warm = [notebook.ready_at for notebook in self if notebook.ready_at is not None]
        seconds = self.starts.wakes_in(warm, now)
        self._sleeper = None
        if seconds is not None:
            self._sleeper = asyncio.get_running_loop().call_later(seconds + 0.01, self.wake)

    def wake(self) -> None:
        """Schedule a tick on the event loop, so that refill does not wait for the timer."""
        if self.phase is Phase.OPEN and not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self.tick)

    # Recovery

    def adopt_session(
        self,
        running: Running,
        *,
        visitor: str | None,
        expires_in: float | None,
        shared: str | None = None,
        network: str | None = None,
        is_opened: bool = True,
    ) -> Notebook | None:
        """Adopt a notebook that was assigned before a restart; its idle time, and its time to be opened, start again.

        ``expires_in``: seconds, None for a whole lifetime. The others are as in ``Notebook``. Returns None while the
        pool is CLOSING.
        """
        notebook = self._enter(running)
        if notebook is None:
            return None
        now = self.clock()
        left = self.limits.lifetime if expires_in is None else expires_in
        expires_at = now + left if self.limits.lifetime else None
        notebook.begin(visitor, now, expires_at, shared, network, is_opened=is_opened)
        fact = self._move(notebook, State.ASSIGNED, Reason.ADOPTED)
        if running.given is not Given.YES:
            self.marks.set(notebook)
        self._notify(fact)
        return notebook

    async def adopt_warm(self, running: Running) -> Notebook | None:
        """Adopt an unassigned notebook; reap it if it is not paused and does not answer. None while CLOSING.

        One of an unwanted edition is replaced by ticks, once another has answered: the new edition may not start.
        """
        notebook = self._enter(running)
        if notebook is None:
            return None
        is_silent = not notebook.is_paused and await notebook.jupyter.answers() is False
        if is_silent or notebook.state is not State.STARTING:
            self.reap(notebook, Reason.LOST if running.edition in self.editions else Reason.DRAINED)
        elif self.phase is not Phase.CLOSING:
            self._notify(self._move(notebook, State.WARM, Reason.ADOPTED))
        return notebook

    def discard(self, running: Running, reason: Reason) -> None:
        """Stop an orphan: a running notebook with the pool's labels that is not in the table. Nobody waits for that.

        It holds a place until it has stopped, like any other.
        """
        notebook = self._enter(running)
        if notebook is not None:
            self._orphans.add(notebook.key)
            self.reap(notebook, reason)

    # Ending

    async def close(self, *, stop: bool, grace: float = 30.0, hurry: asyncio.Event | None = None) -> int:
        """Start nothing more. With ``stop``, reap every notebook; else leave those that run to the next service.

        What is not stopped after ``grace`` seconds, or soon after ``hurry`` is set, is left; without ``stop`` after
        three seconds, as the next service stops it. Returns how many notebooks may still run although they were to be
        stopped.
        """
        if self.phase is not Phase.CLOSING:
            self._become(Phase.CLOSING)
        if self._sleeper is not None:
            self._sleeper.cancel()
        for question in self._questions:
            question.cancel()
        starting = {place.key for place in self.places if place.state is State.STARTING}
        for place in self.places:
            if stop or place.key in self._starting:  # not those that are being adopted
                self._reap(place, Reason.SHUTDOWN)
        starts = set(self._starting.values())  # which no next service would look for, so each cleans up after itself
        await self.marks.close()
        patience = grace if stop else min(grace, _PARTING)
        await asyncio.gather(finish(starts, grace, hurry), finish(self._work - starts, patience, hurry))
        for notebook in self:
            await notebook.jupyter.close()
        return len(await self._left(starting)) if stop else 0

    async def _left(self, starting: set[str]) -> set[str]:
        """Return the keys of notebooks that may still run after all were to be stopped.

        A start that was cancelled does not tell if it could clean up, so the backend is asked; if it does not answer,
        all that were ``starting`` may run.
        """
        left = {place.key for place in self.places if place.state is not State.GONE}
        if not starting <= left:
            try:
                async with asyncio.timeout(_LAST_LIST):
                    left |= {item.key for item in await self.backend.list()}
            except (BackendError, TimeoutError):
                left |= starting
        return left

    # Inside

    def _do(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a start or a stop in a task that ``close`` waits for."""
        task = spawn(work, name)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    def _reap(self, place: Place, reason: Reason) -> None:
        if place.state in (State.REAPING, State.GONE):
            return
        if place.state is State.WARM and reason in OWN_ENDS:
            self._ended_young(place, reason)
        fact = self._move(place, State.REAPING, reason)
        start = self._starting.get(place.key)
        if start is not None:  # a cancelled start cleans up after itself
            start.cancel()
        else:
            self._do(self._stop(place), f"stop {place.id}")
        self._notify(fact)

    def _enter(self, running: Running) -> Notebook | None:
        """Put a running notebook into the table; None while CLOSING, as it is left to the next service."""
        if self.phase is Phase.CLOSING:
            return None
        notebook = Place(running.key, self.name, self.clock()).filled(running, self._connect(running))
        self._places[running.key] = notebook
        return notebook

    def _to_assign(self) -> list[Notebook]:
        """Return the notebooks that may be assigned, the next one first: a service that adopted one that is marked, and
        is not assigned, would take it for a session.
        """
        warm = [n for n in self if n.state is State.WARM and not n.is_paused and n.key not in self._doubted]
        return sorted(warm, key=lambda n: (n.key != self.marks.proof, n.edition not in self.editions, n.moved_at))

    def _next(self) -> Notebook | None:
        """Return the notebook that is assigned next, or None."""
        return next((n for n in self._to_assign() if n.key != self.marks.trying), None)

    def _none_warm(self) -> NoNotebookError:
        busy = self.count(State.ASSIGNED) + self.count(State.REAPING)
        if busy >= self.limits.capacity:
            message = f"all {self.limits.capacity} notebooks are in use"
            return NoNotebookError(Shortage.FULL, message, retry_after=_FULL_RETRY)
        backoff = self.starts.backoff
        wait = max(1, round(backoff.until - self.clock())) if backoff.failures else 1
        return NoNotebookError(Shortage.WARMING, "notebooks are being started", retry_after=wait)

    def _move(self, place: Place, to: State, reason: Reason) -> Transition:
        """Change a place's state. The caller starts the consequences, then calls ``_notify``."""
        fact = place.move(to, reason, self.clock())
        if to in (State.REAPING, State.GONE):
            self._doubted.discard(place.key)
        if to is State.GONE:
            self._places.pop(place.key, None)
        self.wake()
        return fact

    def _notify(self, fact: Transition) -> None:
        for hear in self._listeners:
            try:
                hear(fact)
            except Exception as error:
                self.report(ListenerFailed(self.name, fact.notebook.id, fact.to, error))

    async def _start(self, place: Place, edition: Edition) -> None:
        try:
            running = await self.backend.start(place.key, edition)
        except BackendError as error:
            self._start_failed(place, error)
            return
        except Exception as error:
            self.report(StartCrashed(self.name, error))
            self._start_failed(place, BackendError(f"{type(error).__name__} in the backend"))
            return
        self._starting.pop(place.key, None)
        if place.state is State.STARTING:
            notebook = self._places[place.key] = place.filled(running, self._connect(running))
            notebook.ready_at = self.clock()
            self.starts.succeeded(notebook.ready_at)
            self._notify(self._move(notebook, State.WARM, Reason.READY))
        else:
            await self._stop(place)

    def _start_ended(self, place: Place, task: asyncio.Task[None]) -> None:
        """Free the place of a cancelled start, also of one cancelled before its first step."""
        self._starting.pop(place.key, None)
        if task.cancelled() and place.state is not State.GONE:
            self._notify(self._move(place, State.GONE, place.reason or Reason.SHUTDOWN))

    def _start_failed(self, place: Place, error: BackendError) -> None:
        delay = self.starts.failed(place.created_at, self.clock(), str(error), is_transient=error.transient)
        # If it was being reaped already, keep that reason.
        fact = self._move(place, State.GONE, place.reason or Reason.FAILED)
        tail = error.log_tail.strip().splitlines()[-_TAIL:] if isinstance(error, StartError) else ()
        self.report(StartFailed(self.name, str(error), error.transient, tuple(tail), round(delay, 1)))
        self._notify(fact)

    def _ended_young(self, place: Place, reason: Reason) -> None:
        """Count the end of a notebook that nobody has used as a failed start, if it came soon after the start."""
        now = self.clock()
        if not isinstance(place, Notebook) or place.ready_at is None:
            return
        error = f"a notebook ended {now - place.ready_at:.0f} s after it was warm ({reason})"
        delay = self.starts.ended(place.ready_at, now, error)
        if delay is not None:
            self.report(StartFailed(self.name, error, transient=True, log_tail=(), next_try_in=round(delay, 1)))

    async def _stop(self, place: Place) -> None:
        if isinstance(place, Notebook):
            await place.jupyter.close()
        backoff = Backoff(first=0.5, cap=_STOP_RETRY)
        while True:
            try:
                await self.backend.stop(place.key)
                break
            except Exception as error:  # whatever it is, as a lack of threads: the place is free once this succeeds
                self.stuck[place.key] = what_failed(error)
                self.report(StopFailed(self.name, place.id, what_failed(error)))
                await self._retries.pause(backoff.failed(self.clock()))
        self.stuck.pop(place.key, None)
        if place.key in self._orphans:
            self._orphans.discard(place.key)
            self.report(OrphanStopped(self.name))
        self._notify(self._move(place, State.GONE, place.reason or Reason.ENDED))

    async def _ask(self, notebook: Notebook) -> None:
        began = self.clock()
        try:
            silent = await notebook.jupyter.silent_for()
        except UnaskedError as error:
            self.report(KernelsQueryFailed(self.name, notebook.id, str(error)))
            return  # the next regular tick asks
        except Exception as error:
            notebook.unanswered += 1
            self.report(KernelsQueryFailed(self.name, notebook.id, what_failed(error)))
        else:
            notebook.unanswered = 0
            if silent is not None:
                notebook.touch(self.clock() - silent)
        finally:
            self._asking.discard(notebook.key)
        notebook.asked_at = began
        self.wake()
