"""Sessions: who owns which notebook, since when, until when, and why past sessions ended.

The engine decides what exists; the ledger holds what the engine cannot. All facts are kept in memory and, before a
visitor is answered, in a file (``ledger_store``). When the file cannot be used (it is full, locked, deleted, replaced…)
the service goes on with the facts in memory, and ``keep`` writes all of them to the file once that is possible. A file
that misses something meanwhile has a ``.missed`` file beside it: a service that starts then uses what the ledger
contains, but concludes nothing from what it lacks. A corrupt file is renamed; one of a newer version is never touched.

Times in the ledger are seconds since the epoch by a clock that is not changed with the wall clock while the machine
runs (``clocks.Epoch``). A wall clock that is set, also while no service runs, neither ends a session nor prolongs it.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import structlog

from tmppool import ledger_file
from tmppool.ledger_rows import Row
from tmppool.ledger_store import Batch, Found, Store, cause
from tmppool.notebook import Notebook, Reason, State, Transition
from tmppool.state_dir import Held
from tmppool.tasks import finish, spawn

_PATIENCE = ledger_file.BUSY + 0.5  # seconds for a work on the file, which may have to wait for a lock
_PARTING = 0.5  # seconds to mark one that is lost, which a visitor may have waited for already
_KEPT = 7 * 86400.0  # seconds that ended sessions stay in the ledger
_MOST_ENDED = 10_000  # ended sessions that stay, as many as ``tmppool.pools`` remembers
_ABSENT = (Reason.LOST, Reason.REMOVED)  # the backend did not find it
_SOUGHT = 3600.0  # seconds in which a session that the backend did not find may be found yet

T = TypeVar("T")

_log = structlog.get_logger("tmppool.ledger")


class _StillError(OSError):
    """The file's disk takes nothing, and does not fail either."""

    def __init__(self) -> None:
        super().__init__(f"its disk did not take it within {_PATIENCE:.1f} s")


class Ledger:
    """``is_trusted``: an earlier service wrote the file, and none has run without it since.

    ``is_durable``: the file has all facts that ``flush`` was asked for. False while they are in memory only.
    """

    def __init__(self, store: Store, thread: ThreadPoolExecutor, found: Found) -> None:
        self.is_trusted = found.is_trusted
        self.is_durable = store.is_open
        self._store = store
        self._thread = thread  # the only one that uses the store
        self._late: asyncio.Future[Any] | None = None  # the last work that it did not end in time
        self._is_closed = False
        self._epoch = found.epoch
        self._meta = found.meta
        self._rows = found.rows
        self._changed: set[str] = set()  # keys of rows that the file may not have as they are
        self._recalled: list[Row] = []
        self._wanted = asyncio.Event()  # set while a write is
        self._under_way, self._next = asyncio.Event(), asyncio.Event()  # set when this write, and the next, has ended
        self._under_way.set()
        self._writer = spawn(self._write_all(), "ledger writer")
        self._writer.add_done_callback(lambda _writer: self._release())

    @classmethod
    async def open(cls, path: Path, holding: Held | None = None) -> "Ledger":
        """Open or create the ledger at ``path``. Goes on in memory and logs why, if it cannot be used.

        ``holding`` is the lock of its directory, which is given back once the ledger has closed its file: while
        another service has it, what is at ``path`` is that one's, and is left as it is.
        """
        store, thread = Store(path, holding), ThreadPoolExecutor(1, "ledger")
        beginning = asyncio.wrap_future(thread.submit(store.begin))
        try:
            ledger = cls(store, thread, await beginning)
        except BaseException:  # as of a start that is ended
            thread.submit(store.give_up)
            thread.shutdown(wait=False)
            raise
        ledger.prune()
        return ledger

    @property
    def secret(self) -> bytes:
        """The secret that this service's tokens and tickets are made with."""
        return self._meta["secret"]

    def now(self) -> float:
        """Return the time by the ledger's clock, in seconds since the epoch."""
        return self._epoch.now()

    def wall_of(self, at: float) -> float:
        """Return the wall time, as it is shown to people, of a time in the ledger."""
        return self._epoch.wall_of(at)

    def rows(self) -> dict[str, Row]:
        """Return all rows by key."""
        return dict(self._rows)

    def row(self, key: str) -> Row | None:
        """Return the row of a notebook; None if it has none."""
        return self._rows.get(key)

    # What happened

    def hear(self, fact: Transition) -> None:
        """Listener: change the row; ``flush`` waits until that is written."""
        notebook = fact.notebook
        known = self._rows.get(notebook.key)
        if fact.to is State.WARM:
            self._put(Row(notebook.key, notebook.pool, State.WARM, warm_at=self.now()))
        elif isinstance(notebook, Notebook) and fact.to is State.ASSIGNED:
            self._put(self._assigned(notebook, known, fact.at))
        elif fact.was is State.ASSIGNED and fact.to is State.GONE:  # another service's: no visitor of this one owns it
            self._forget(notebook.key)
        elif known is None:
            return
        elif fact.was is State.ASSIGNED:
            self._put(replace(known, state=fact.to, ended_at=self.now(), reason=fact.reason, network=None))
        elif fact.to is State.GONE and known.assigned_at is None:
            self._forget(notebook.key)
        elif fact.to is State.GONE:
            self._put(replace(known, state=State.GONE, network=None))

    async def note_people(self, notebook: Notebook) -> None:
        """Record the notebook's owner, its network and its sharing; return when they are written."""
        known = self._rows.get(notebook.key)
        if known is not None:
            self._put(replace(known, visitor=notebook.visitor, network=notebook.network, shared=notebook.shared))
        await self.flush()

    def note_opened(self, notebook: Notebook) -> None:
        """Note that the notebook was opened. Lost in a crash, this costs nothing: its open page opens it again."""
        known = self._rows.get(notebook.key)
        if known is not None:
            self._put(replace(known, opened_at=self.now()))

    async def note_backend(self, kind: str) -> None:
        """Record the backend's kind, for ``ledger_file.left_behind``; return when it is written."""
        self._meta = self._meta | {"backend": kind.encode()}
        self._want()
        await self.flush()

    async def end_row(self, key: str, reason: Reason) -> None:
        """Record the end of a session whose notebook vanished while no service ran.

        If only its absence was seen, it may be found yet, and then it counts for its network as before.
        """
        known = self._rows.get(key)
        if known is not None:
            network = known.network if reason in _ABSENT else None
            self._put(replace(known, state=State.GONE, ended_at=self.now(), reason=reason, network=network))
        await self.flush()

    def postpone(self, seconds: float) -> None:
        """Let all sessions end later by this time, in which their visitors could not use them."""
        for row in list(self._rows.values()):
            if row.expires_at is not None and row.ended_at is None:
                self._put(replace(row, expires_at=row.expires_at + seconds))

    def prune(self) -> None:
        """Forget sessions that ended long ago, and the oldest of too many: a service may run for years.

        Not those that are still being stopped: without its row, a restart would take such a notebook back as a session.
        """
        now = self.now()
        ended = [(row.ended_at, row) for row in self._rows.values() if row.ended_at is not None]
        gone = sorted((at, row.key) for at, row in ended if row.state is State.GONE)
        too_old = {row.key for at, row in ended if at < now - _KEPT}
        for key in too_old.union(key for _, key in gone[: max(0, len(gone) - _MOST_ENDED)]):
            self._forget(key)
        for at, row in ended:
            if row.key in self._rows and row.network is not None and at < now - _SOUGHT:
                self._put(replace(row, network=None))

    def _assigned(self, notebook: Notebook, known: Row | None, at: float) -> Row:
        """Return the row of a notebook that was assigned, or adopted, ``at`` this time of its pool's clock."""
        now = self.now()
        row = known or Row(notebook.key, notebook.pool, State.ASSIGNED)
        return replace(
            row,
            state=State.ASSIGNED,
            visitor=notebook.visitor,
            assigned_at=now if row.assigned_at is None else row.assigned_at,
            expires_at=None if notebook.expires_at is None else now + notebook.expires_at - at,
            network=notebook.network,
            opened_at=now if row.opened_at is None and notebook.is_opened else row.opened_at,
            ended_at=None,
            reason=None,
        )

    def _put(self, row: Row) -> None:
        self._rows[row.key] = row
        self._changed.add(row.key)
        self._want()

    def _forget(self, key: str) -> None:
        if self._rows.pop(key, None) is not None:
            self._changed.add(key)
            self._want()

    def _want(self) -> None:
        """Ask for a write, unless the file is lost: ``keep`` tries again."""
        if self.is_durable:
            self._wanted.set()

    # Until it is written

    async def flush(self) -> None:
        """Return when all changes are in the file; at once if it cannot be used, or the writer has failed.

        A visitor is redirected only after that.
        """
        if self.is_durable and not self._writer.done():
            await (self._next if self._wanted.is_set() else self._under_way).wait()

    async def keep(self) -> list[Row]:
        """Notice within seconds that the file is lost, and write all facts to one again once that is possible.

        Returns rows whose owners only a file knew that the start could not use.
        """
        if not self._is_still and not self._store.is_barred and not self._writer.done():
            self._wanted.set()
            await self._next.wait()
        recalled, self._recalled = self._recalled, []
        return recalled

    async def close(self) -> None:
        """Write what the file lacks, or mark it, then close it; a disk that stands still does that when it answers."""
        if self._is_closed:
            return
        self._is_closed = True
        await finish({self._writer}, 0.0)
        whole = self._batch(self._rows, self._changed, is_waited_for=True)
        try:
            await self._in_time(0.0 if self._is_still else _PATIENCE, self._store.close, whole)
        except _StillError:
            message = "its disk does not answer; this process, and its lock on the state directory, last until it does"
            _log.warning("ledger.awaited", message=message)
        except Exception as error:
            if self.is_durable:
                _log.error("ledger.lost", why=cause(error), action="ending without it")
        self._thread.shutdown(wait=False)

    def _release(self) -> None:
        """Let go who waits for a write that has ended, or will not be made."""
        self._under_way.set()
        self._next.set()
        self._next = asyncio.Event()

    async def _write_all(self) -> None:
        while True:
            await self._wanted.wait()
            if self._late is not None and not self._late.done():
                await asyncio.wait({self._late})
            self._wanted.clear()
            self._under_way, self._next = self._next, asyncio.Event()
            await self._write()
            self._under_way.set()

    async def _write(self) -> None:
        """Write what has changed, or all to a file that was lost. Logs once that it is lost, or has all again."""
        taken: set[str] = set()
        try:
            if self._store.is_unread:
                self._merge(await self._in_time(_PATIENCE, self._store.recall))
                self._store.is_unread = False
            taken, self._changed = self._changed, set()
            rows = {key: self._rows[key] for key in taken if key in self._rows} if self._store.is_open else self._rows
            batch = self._batch(rows, taken, is_waited_for=self.is_durable)
            await self._in_time(_PATIENCE, self._store.write, batch)
        except Exception as error:  # whatever the file or the machine lacks: all facts are kept in memory
            if self.is_durable:
                await self._lose(error)
        else:
            taken = set()
            if not self.is_durable:
                self.is_durable = True
                self._wanted.set()  # with what has changed meanwhile, which nobody waited for
                _log.warning("ledger.rewritten", message="the ledger on disk has all facts again")
        finally:
            self._changed |= taken

    async def _lose(self, error: Exception) -> None:
        """Go on with what is in memory. A later service must not trust the file, which misses things from now on."""
        self.is_durable = False
        try:
            action = await self._in_time(0.0 if self._is_still else _PARTING, self._store.pass_over)
        except _StillError:
            action = "continuing without it until its disk answers"
        except Exception as failure:
            action = f"continuing without it; that could not be noted: {failure}"
        _log.error("ledger.lost", why=cause(error), action=action)
        self._wanted.clear()
        self._release()

    def _merge(self, older: dict[str, Row]) -> None:
        """Take what an older file says of notebooks, where it was not used while this service adopted what ran.

        The owner that it names is the owner still, unless the notebook has another by now. An owner may have ended all
        sharing since.
        """
        for old in older.values():
            known = self._rows.get(old.key)
            row = replace(old, shared=None)
            if known is not None:
                given = [at for at in (known.assigned_at, old.assigned_at) if at is not None]
                visitor = old.visitor if known.visitor is None else known.visitor
                row = replace(known, visitor=visitor, assigned_at=min(given, default=None))
            self._put(row)
            self._recalled.append(row)

    def _batch(self, rows: dict[str, Row], changed: set[str], *, is_waited_for: bool) -> Batch:
        return Batch(dict(rows), frozenset(changed), self._meta, is_waited_for)

    @property
    def _is_still(self) -> bool:
        """True while a work on the file has not ended, for which nobody waits any more."""
        return self._late is not None and not self._late.done()

    async def _in_time(self, seconds: float, work: Callable[..., T], *about: object) -> T:
        """Let the store's thread do a work. If its disk stands still, raise _StillError: it goes on by itself.

        Nothing that is asked of such a disk ends, be it to close the file or to cancel what was asked before.
        """
        doing = asyncio.wrap_future(self._thread.submit(work, *about))
        doing.add_done_callback(lambda done: done.cancelled() or done.exception())  # whether or not it was awaited
        for _ in range(2):  # in two halves, as this process may have been stopped during one
            if not doing.done():
                await asyncio.wait({doing}, timeout=seconds / 2)
        if not doing.done():
            self._late = doing
            raise _StillError
        return doing.result()
