"""Sessions: giving a notebook to a visitor, whom it belongs to, who else may use it, and its end by its owner.

Pages, programs and the operator's listener all act through this. What would be believed after a restart is in the
ledger before it is answered: who owns a session, whether it is shared, and that it has ended.
"""

import secrets

import structlog

from tmppool.errors import BackendError, NoNotebookError, Shortage, TakenError
from tmppool.ledger import Ledger
from tmppool.notebook import Notebook, Place, Reason
from tmppool.pool import Pool
from tmppool.tasks import completed, spawn

_log = structlog.get_logger("tmppool.sessions")

_UNMARKED = "notebooks cannot be assigned right now"
_UNMARKED_RETRY = 10  # seconds that a visitor is asked to wait while the backend is ill


class Sessions:
    """Acts on sessions. What was begun is finished when the visitor leaves in the middle of it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def assign(self, pool: Pool, visitor: str | None, document: str | None = None) -> Notebook:
        """Give a notebook away, and start the kernel of ``document``, a path in its home, beside it.

        Raises NoNotebookError.
        """
        if pool.illness:
            raise NoNotebookError(Shortage.BACKEND_ILL, _UNMARKED, retry_after=_UNMARKED_RETRY)
        notebook = pool.assign(visitor)
        if not await completed(self._is_marked(pool, notebook), f"mark {notebook.id}"):
            raise NoNotebookError(Shortage.BACKEND_ILL, _UNMARKED, retry_after=_UNMARKED_RETRY)
        if document is not None:
            spawn(_start_kernel(notebook, document), f"kernel of {notebook.id}")
        return notebook

    async def bind(self, notebook: Notebook, visitor: str) -> bool:
        """Make this visitor the owner of a notebook that has none; returns False if it has one."""
        if not notebook.bind(visitor):
            return False
        await self._note(notebook)
        return True

    async def share(self, notebook: Notebook, *, is_shared: bool) -> None:
        """Begin to share under a token that never was, or end it. No effect on a session that has ended."""
        if not notebook.is_live:
            return
        if (notebook.shared is not None) != is_shared:
            notebook.share(secrets.token_urlsafe(9) if is_shared else None)
        await self._note(notebook)

    def extend(self, pool: Pool, notebook: Notebook) -> None:
        """Note that a person uses it; written nowhere, for the idle clock of an adopted session starts afresh."""
        pool.touch(notebook)

    async def end(self, pool: Pool, place: Place, reason: Reason = Reason.ENDED) -> None:
        """End the session, or what nobody holds yet; returns when that is in the ledger, not when it has stopped.

        Were it answered sooner, a service killed in between would give the session back to its visitor.
        """
        pool.reap(place, reason)
        await self._ledger.flush()

    async def _note(self, notebook: Notebook) -> None:
        await completed(self._ledger.note_people(notebook), f"note {notebook.id}")

    async def _is_marked(self, pool: Pool, notebook: Notebook) -> bool:
        """Return True once the backend knows that this one is given away, for no ledger may be what that rests on."""
        await self._ledger.flush()
        try:
            is_marked = await pool.marks.is_set(notebook)
        except TakenError as error:
            _log.error("notebook.taken", pool=pool.name, notebook=notebook.id, error=str(error))
            pool.leave(notebook)
            return False
        if not is_marked:
            pool.reap(notebook, Reason.FAILED)
        return is_marked


async def _start_kernel(notebook: Notebook, document: str) -> None:
    try:
        await notebook.jupyter.start_kernel(document)
    except BackendError as error:  # a head start only: the page starts its kernel itself
        _log.info("kernel.start_failed", notebook=notebook.id, error=str(error))
