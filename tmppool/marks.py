"""Marks of assigned notebooks. Each is kept by the backend, so the loss or restore of a ledger does not remove it.

A notebook that cannot be marked is lost to its visitor. Where one fails, or takes long, another is marked as a proof:
one that is still warm. Until that has succeeded no further notebook is risked. Those that were tried may be marked, and
a service that adopts one takes it for a session, as its ledger may be an older one. So they are replaced after the
proof. What is not assigned or replaced when the service is killed is kept until it is idle, which is the price.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable

from tmppool.backends.base import Backend
from tmppool.backoff import Backoff
from tmppool.errors import TakenError, what_failed
from tmppool.incidents import AssignmentsResumed, AssignmentsSuspended, Incident, MarkFailed
from tmppool.notebook import Notebook
from tmppool.retries import Retries
from tmppool.starts import Trouble
from tmppool.tasks import finish, spawn

_PATIENCE = 5.0  # seconds that a click waits for the first try
_PARTING = 1.0  # seconds for marks under way when the service ends
_SLOW = 2.0  # seconds after which a mark takes long; and as many a proof; so trouble is known within 5
_PROOF = 2.0  # most seconds between two proofs
_RETRY = 5.0  # most seconds between two tries, fewer at first and when the backend recovers


class Marks:
    """The marks of one pool. A mark that cannot be set is retried for as long as the notebook is assigned.

    ``report`` is called once for each notebook whose first try fails, and when trouble begins or ends. ``retries`` has
    the pauses between tries. ``candidates`` returns the notebooks that may be marked as a proof, those that are to be
    assigned next. ``clock`` is the pool's. ``trouble`` is None unless a proof has failed. ``is_doubted`` is True from
    the failure of a mark until a proof has been tried; meanwhile no notebook should be assigned. ``trying`` is the key
    of the notebook that is being marked as a proof, else empty; ``proof`` that of the last one that was.
    """

    def __init__(
        self,
        backend: Backend,
        report: Callable[[Incident], None],
        retries: Retries,
        candidates: Callable[[], Iterable[Notebook]],
        clock: Callable[[], float],
    ) -> None:
        self.trouble: Trouble | None = None
        self.is_doubted = False
        self.trying = self.proof = ""
        self._report = report
        self._retries = retries
        self._backend = backend
        self._candidates = candidates
        self._clock = clock
        self._first: dict[str, asyncio.Future[str]] = {}  # by key, why the first try failed, empty if it did not
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._proof: asyncio.Task[None] | None = None
        self._tried: set[Notebook] = set()  # in the present proof
        self._is_closed = False

    def set(self, notebook: Notebook) -> None:
        """Mark an assigned notebook, in a task; no effect while that is under way, or after ``close``."""
        key = notebook.key
        if key in self._tasks or self._is_closed:
            return
        first = self._first[key] = asyncio.get_running_loop().create_future()
        task = self._tasks[key] = spawn(self._set(notebook, first), f"mark {notebook.id}")
        task.add_done_callback(lambda _task: self._tasks.pop(key, None))
        notebook.on_close.add(lambda: self._forget(key))

    async def is_set(self, notebook: Notebook) -> bool:
        """Wait up to five seconds for the first try; return True if it set the mark.

        For a notebook that works: its failure suggests that no mark can be set. Raises TakenError if another service
        has assigned this notebook.
        """
        first = self._first.get(notebook.key)
        if first is None:
            return False
        await asyncio.wait({first}, timeout=_PATIENCE)
        if not first.done() or first.cancelled():
            return False
        if first.result():
            self._doubt(notebook, first.result())
            self.is_doubted = self._proof is not None
        return not first.result()

    async def close(self) -> None:
        """Wait up to one second for marks under way, then cancel them."""
        self._is_closed = True
        if self._proof is not None:
            self._proof.cancel()
        await finish({*self._tasks.values()}, _PARTING)

    async def _set(self, notebook: Notebook, first: asyncio.Future[str]) -> None:
        backoff = Backoff(first=0.5, cap=_RETRY)
        while notebook.is_live:
            try:
                await self._give(notebook)
            except TakenError as error:
                if not first.done():
                    first.set_exception(error)
                    first.exception()  # mark it as retrieved, for an adopted notebook
                return
            except Exception as error:  # whatever it is, as a lack of threads: the notebook is not marked
                if not first.done():
                    first.set_result(what_failed(error))
                    self._report(MarkFailed(notebook.pool, notebook.id, what_failed(error)))
                await self._retries.pause(backoff.failed(self._clock()))
            else:
                if not first.done():
                    first.set_result("")
                return

    async def _give(self, notebook: Notebook) -> None:
        """Mark a notebook. Raises as ``Backend.give``."""
        late = asyncio.get_running_loop().call_later(_SLOW, self._doubt, notebook, _nothing_said())
        try:
            await self._backend.give(notebook.key)
        finally:
            late.cancel()
        if self._proof is not None:
            self._proof.cancel()  # it is a proof itself, that it was slow aside

    # Proof

    def _doubt(self, notebook: Notebook, error: str) -> None:
        """Find out, unless that is under way, if no notebook can be marked, as this one."""
        if self._proof is None and notebook.is_live and not self._is_closed:
            self._proof = spawn(self._prove(notebook.pool, error), f"prove that marks of {notebook.pool} can be set")
            self._proof.add_done_callback(lambda _proof: self._proved(notebook.pool))

    def _proved(self, pool: str) -> None:
        """Assign again, however the proof has ended."""
        self._proof, self.is_doubted = None, False
        for notebook in self._tried:
            notebook.outdate()
        self._tried.clear()
        if self.trouble is not None and not self._is_closed:
            self.trouble = None
            self._report(AssignmentsResumed(pool))

    async def _prove(self, pool: str, error: str) -> None:
        """Return once a mark could be set. ``error`` counts while there is no notebook to try that with."""
        backoff = Backoff(first=0.5, cap=_PROOF)
        for turn in itertools.count():
            failure = await self._try_another(turn, error)
            if failure is None:
                return
            if self.trouble is None:
                self.trouble = Trouble(f"notebooks cannot be marked as assigned: {failure}", self._clock())
                self._report(AssignmentsSuspended(pool, failure))
            await self._retries.pause(backoff.failed(self._clock()))

    async def _try_another(self, turn: int, error: str) -> str | None:
        """Mark another notebook; return why that failed, ``error`` if there is none to mark, None if it succeeded.

        Each turn takes the next one: one container can be stuck by itself.
        """
        others = [notebook for notebook in self._candidates() if notebook.key not in self._tasks]
        if not others:
            return error
        tried = others[turn % len(others)]
        self.trying = tried.key
        self._tried.add(tried)
        try:
            async with asyncio.timeout(_SLOW):
                await self._backend.give(tried.key)
        except TimeoutError:
            return _nothing_said()
        except TakenError:
            self._tried.discard(tried)  # not ours to replace
            return None  # the backend answers
        except Exception as failure:
            return what_failed(failure)
        finally:
            self.trying = ""
        self.proof = tried.key
        return None

    # Inside

    def _forget(self, key: str) -> None:
        first = self._first.pop(key, None)
        if first is not None and not first.done():
            first.cancel()


def _nothing_said() -> str:
    return f"the backend did not answer within {_SLOW:.0f} s"
