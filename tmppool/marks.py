"""Marks of assigned notebooks. Each is kept by the backend, so the loss or restore of a ledger does not remove it.

A notebook that cannot be marked is lost to its visitor. Where one fails, or takes long, another is marked as a proof:
one that is still warm, and remains so until it is assigned. Until that has succeeded no further notebook is risked.
"""

import asyncio
from collections.abc import Callable, Iterable

from tmppool.backends.base import Backend
from tmppool.backoff import Backoff
from tmppool.errors import BackendError, TakenError
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
    the pauses between tries. ``candidates`` returns the notebooks that may be marked as a proof, the best first: those
    to be assigned next, and sessions. ``clock`` is the pool's. ``trouble`` is None unless a proof has failed.
    ``trying`` is the key of the notebook that is being marked as a proof, else empty.
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
        self.trying = ""
        self._report = report
        self._retries = retries
        self._backend = backend
        self._candidates = candidates
        self._clock = clock
        self._first: dict[str, asyncio.Future[str]] = {}  # by key, why the first try failed, empty if it did not
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._proof: asyncio.Task[None] | None = None

    @property
    def is_doubted(self) -> bool:
        """True while it is not known if marks can be set; meanwhile no notebook should be assigned."""
        return self._proof is not None

    def set(self, notebook: Notebook) -> None:
        """Mark an assigned notebook, in a task; no effect while that is under way."""
        key = notebook.key
        if key in self._tasks:
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
        return not first.result()

    async def close(self) -> None:
        """Wait up to one second for marks under way, then cancel them."""
        if self._proof is not None:
            self._proof.cancel()
        await finish({*self._tasks.values()}, _PARTING)

    async def _set(self, notebook: Notebook, first: asyncio.Future[str]) -> None:
        backoff = Backoff(first=0.5, cap=_RETRY)
        loop = asyncio.get_running_loop()
        while notebook.is_live:
            late = loop.call_later(_SLOW, self._doubt, notebook, _nothing_said())
            try:
                await self._backend.give(notebook.key)
            except TakenError as error:
                if not first.done():
                    first.set_exception(error)
                    first.exception()  # mark it as retrieved, for an adopted notebook
                return
            except BackendError as error:
                if not first.done():
                    first.set_result(str(error))
                    self._report(MarkFailed(notebook.pool, notebook.id, str(error)))
                await self._retries.pause(backoff.failed(self._clock()))
            else:
                if not first.done():
                    first.set_result("")
                return
            finally:
                late.cancel()

    # Proof

    def _doubt(self, notebook: Notebook, error: str) -> None:
        """Find out, unless that is under way, if no notebook can be marked, as this one."""
        if self._proof is None and notebook.is_live:
            self._proof = spawn(self._prove(notebook.pool, error), f"prove that marks of {notebook.pool} can be set")
            self._proof.add_done_callback(self._proved)

    def _proved(self, _proof: asyncio.Task[None]) -> None:
        self._proof = None

    async def _prove(self, pool: str, error: str) -> None:
        """Return once a mark could be set. ``error`` counts while there is no notebook to try that with."""
        backoff = Backoff(first=0.5, cap=_PROOF)
        while (failure := await self._try_another(error)) is not None:
            if self.trouble is None:
                self.trouble = Trouble(f"notebooks cannot be marked as assigned: {failure}", self._clock())
                self._report(AssignmentsSuspended(pool, failure))
            await self._retries.pause(backoff.failed(self._clock()))
        if self.trouble is not None:
            self.trouble = None
            self._report(AssignmentsResumed(pool))

    async def _try_another(self, error: str) -> str | None:
        """Mark another notebook; return why that failed, ``error`` if there is none to mark, None if it succeeded."""
        self.trying = next((notebook.key for notebook in self._candidates() if notebook.key not in self._tasks), "")
        if not self.trying:
            return error
        try:
            async with asyncio.timeout(_SLOW):
                await self._backend.give(self.trying)
        except TimeoutError:
            return _nothing_said()
        except TakenError:
            return None  # the backend answers
        except BackendError as failure:
            return str(failure)
        finally:
            self.trying = ""
        return None

    # Inside

    def _forget(self, key: str) -> None:
        first = self._first.pop(key, None)
        if first is not None and not first.done():
            first.cancel()


def _nothing_said() -> str:
    return f"the backend did not answer within {_SLOW:.0f} s"
