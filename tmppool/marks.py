"""Marks of assigned notebooks. Each is kept by the backend, so the loss or restore of a ledger does not remove it."""

import asyncio
import time
from collections.abc import Callable

from tmppool.backends.base import Backend
from tmppool.backoff import Backoff
from tmppool.errors import BackendError, TakenError
from tmppool.incidents import MarkFailed
from tmppool.notebook import Notebook
from tmppool.retries import Retries
from tmppool.tasks import finish, spawn

_PATIENCE = 5.0  # seconds that a click waits for the first try
_PARTING = 1.0  # seconds for marks under way when the service ends
_RETRY = 5.0  # most seconds between two tries, fewer at first and when the backend recovers


class Marks:
    """The marks of one pool. A mark that cannot be set is retried for as long as the notebook is assigned.

    ``report`` is called once for each notebook whose first try fails. ``retries`` has the pauses between tries.
    """

    def __init__(self, backend: Backend, report: Callable[[MarkFailed], None], retries: Retries) -> None:
        self._report = report
        self._retries = retries
        self._backend = backend
        self._first: dict[str, asyncio.Future[bool]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

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

        Raises TakenError if another service has assigned this notebook.
        """
        first = self._first.get(notebook.key)
        if first is None:
            return False
        await asyncio.wait({first}, timeout=_PATIENCE)
        return first.done() and not first.cancelled() and first.result()

    async def close(self) -> None:
        """Wait up to one second for marks under way, then cancel them."""
        await finish({*self._tasks.values()}, _PARTING)

    async def _set(self, notebook: Notebook, first: asyncio.Future[bool]) -> None:
        backoff = Backoff(first=0.5, cap=_RETRY)
        while notebook.is_live:
            try:
                await self._backend.give(notebook.key)
            except TakenError as error:
                if not first.done():
                    first.set_exception(error)
                    first.exception()  # mark it as retrieved, for an adopted notebook
                return
            except BackendError as error:
                if not first.done():
                    first.set_result(False)
                    self._report(MarkFailed(notebook.pool, notebook.id, str(error)))
                await self._retries.pause(backoff.failed(time.monotonic()))
            else:
                if not first.done():
                    first.set_result(True)
                return

    def _forget(self, key: str) -> None:
        first = self._first.pop(key, None)
        if first is not None and not first.done():
            first.cancel()
