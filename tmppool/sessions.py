"""Sessions: assigns notebooks to visitors, sets their owner, shares and extends them, and ends them.

The pages, the API and the admin listener all use this. Facts that a restart would rely on are written to the ledger
before the request is answered: a session's owner, whether it is shared, and that it has ended.
"""

import secrets
from collections.abc import Sequence

import structlog

from tmppool.errors import BackendError, NoNotebookError, Shortage, TakenError
from tmppool.ledger import Ledger
from tmppool.notebook import Notebook, Place, Reason
from tmppool.pool import Pool
from tmppool.tasks import completed, spawn

_log = structlog.get_logger("tmppool.sessions")

_ILL_RETRY = 10  # Retry-After while the backend fails, in seconds
_KNOCK = 0.25  # seconds for a connection to a notebook before it is given away; it takes less than 0.001


class Sessions:
    """Acts on sessions. An action that has begun is completed even if the client disconnects."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def assign(
        self, pool: Pool, visitor: str | None, document: str | None = None, network: str | None = None
    ) -> Notebook:
        """Assign a notebook, and start the kernel of ``document``, a path in its home, in the background.

        It is in the pool's table, with its ``network``, before anything is awaited. One whose server has died, which
        the backend may not have reported, is replaced by the next warm one. Raises NoNotebookError.
        """
        if _is_ill(pool):
            raise _unmarked()
        notebook = pool.assign(visitor, network)
        while not await completed(_is_open(pool, notebook), f"knock at {notebook.id}"):
            notebook = pool.assign(visitor, network)
        if not await completed(self._is_marked(pool, notebook), f"mark {notebook.id}"):
            raise _unmarked()
        if document is not None:
            spawn(_start_kernel(notebook, document), f"kernel of {notebook.id}")
        return notebook

    def shortage(self, pool: Pool) -> Shortage | None:
        """Return the reason for which ``assign`` would raise NoNotebookError at once; None if it would not."""
        return Shortage.BACKEND_ILL if _is_ill(pool) else pool.shortage

    async def bind(self, notebook: Notebook, visitor: str) -> bool:
        """Make this visitor the owner of a notebook that has none; returns False if it has one."""
        if not notebook.bind(visitor):
            return False
        await self._note(notebook)
        return True

    def note_opened(self, notebook: Notebook) -> None:
        """Note that somebody uses the notebook, so that it is not reaped as unopened."""
        if not notebook.is_opened:
            notebook.is_opened = True
            self._ledger.note_opened(notebook)

    async def renew(self, notebooks: Sequence[Notebook], visitor: str) -> None:
        """Note that the owner of these notebooks is known as ``visitor`` from now on."""
        for notebook in notebooks:
            notebook.renew(visitor)
        for notebook in notebooks:
            await self._note(notebook)

    async def share(self, notebook: Notebook, *, is_shared: bool) -> None:
        """Share the notebook under a new token, or stop sharing. No effect on a session that has ended."""
        if not notebook.is_live:
            return
        self.note_opened(notebook)  # the guests may come later
        if (notebook.shared is not None) != is_shared:
            notebook.share(secrets.token_urlsafe(9) if is_shared else None)
        await self._note(notebook)

    def extend(self, pool: Pool, notebook: Notebook) -> None:
        """Note activity. Its time is not written to the ledger: an adopted session's idle time starts anew."""
        pool.touch(notebook)
        self.note_opened(notebook)

    async def end(self, pool: Pool, place: Place, reason: Reason = Reason.ENDED) -> None:
        """End a session or an unassigned notebook. Returns once the ledger has it, not once it has stopped.

        Otherwise a service that is killed right after its answer would resume the session.
        """
        pool.reap(place, reason)
        await self._ledger.flush()

    async def _note(self, notebook: Notebook) -> None:
        await completed(self._ledger.note_people(notebook), f"note {notebook.id}")

    async def _is_marked(self, pool: Pool, notebook: Notebook) -> bool:
        """Return True once the backend has recorded the assignment, which must survive the loss of the ledger."""
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


async def _is_open(pool: Pool, notebook: Notebook) -> bool:
    """Return True if the notebook accepts a connection; reap it otherwise. Nobody knows its key yet.

    How it ended would have to be asked of the backend, and the visitor waits.
    """
    if await notebook.jupyter.running.dial.is_open(_KNOCK):
        return True
    pool.reap_unusable(notebook)
    return False


def _is_ill(pool: Pool) -> bool:
    return pool.illness is not None or pool.marks.is_doubted


def _unmarked() -> NoNotebookError:
    return NoNotebookError(Shortage.BACKEND_ILL, "notebooks cannot be assigned right now", retry_after=_ILL_RETRY)


async def _start_kernel(notebook: Notebook, document: str) -> None:
    try:
        await notebook.jupyter.start_kernel(document)
    except BackendError as error:  # an optimisation only: the page starts its kernel itself
        _log.info("kernel.start_failed", notebook=notebook.id, error=str(error))
