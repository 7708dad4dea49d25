"""The mark of a notebook that was given away, which its backend keeps: no loss or restore of a ledger undoes it."""

import asyncio
from collections.abc import Callable

from tmppool.backends.base import Backend
from tmppool.errors import BackendError, TakenError
from tmppool.incidents import MarkFailed
from tmppool.notebook import Notebook
from tmppool.tasks import finish, spawn

_PATIENCE = 5.0  # seconds for the first try: no longer is a click kept waiting for an engine
_PARTING = 1.0  # seconds for those under way when the service ends
_RETRY = 5.0  # seconds between two tries


class Marks:
    """The marks of one pool. What cannot be set at once is tried again for as long as the notebook lives.

    ``report`` is told of the first try that fails, for each notebook.
    """

    def __init__(self, backend: Backend, report: Callable[[MarkFailed], None]) -> None:
        self._report = report
        self._backend = backend
        self._first: dict[str, asyncio.Future[bool]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def set(self, notebook: Notebook) -> None:
        """Have this notebook, which is somebody's, marked; no effect while that is under way."""
        key = notebook.key
        if key in self._tasks:
            return
        first = self._first[key] = asyncio.get_running_loop().create_future()
        task = self._tasks[key] = spawn(self._set(notebook, first), f"mark {notebook.id}")
        task.add_done_callback(lambda _task: self._tasks.pop(key, None))
        notebook.on_close.add(lambda: self._forget(key))

    async def is_set(self, notebook: Notebook) -> bool:
        """Return True if the first try has set the mark; waits for its end, at most five seconds.

        Raises TakenError when another service has given this notebook away.
        """
        first = self._first.get(notebook.key)
        if first is None:
            return False
        await asyncio.wait({first}, timeout=_PATIENCE)
        return first.done() and not first.cancelled() and first.result()

    async def close(self) -> None:
        """Give marks that are being set a second more, then leave them."""
        await finish({*self._tasks.values()}, _PARTING)

    async def _set(self, notebook: Notebook, first: asyncio.Future[bool]) -> None:
        while notebook.is_live:
            try:
                await self._backend.give(notebook.key)
            except TakenError as error:
                if not first.done():
                    first.set_exception(error)
                    first.exception()  # of one that was adopted nobody asks
                return
            except BackendError as error:
                if not first.done():
                    first.set_result(False)
                    self._report(MarkFailed(notebook.pool, notebook.id, str(error)))
                await asyncio.sleep(_RETRY)
            else:
                if not first.done():
                    first.set_result(True)
                return

    def _forget(self, key: str) -> None:
        first = self._first.pop(key, None)
        if first is not None and not first.done():
            first.cancel()
