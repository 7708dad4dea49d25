"""Sessions in SQLite: who owns which notebook, since when, until when, and why past sessions ended.

The engine decides what exists; the ledger holds what the engine cannot. All facts are kept in memory and, before a
visitor is answered, in a file. When the file cannot be used (it is full, locked, deleted, replaced…) the service goes
on with the facts in memory, and ``keep`` writes all of them to the file once that is possible. A file that misses
something meanwhile has a ``.missed`` file beside it: a service that starts then uses what the ledger contains, but
concludes nothing from what it lacks. A corrupt file is renamed; one from a newer version is never touched.

Times in the ledger are seconds since the epoch by a clock that is not changed with the wall clock while the machine
runs (``clocks.Epoch``). A wall clock that is set, also while no service runs, neither ends a session nor prolongs it.
"""

import asyncio
import contextlib
import itertools
import operator
import secrets
import sqlite3
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
import structlog
from pydantic import TypeAdapter

from tmppool import ledger_file, ledger_seals
from tmppool.clocks import Epoch
from tmppool.notebook import Notebook, Reason, State, Transition
from tmppool.tasks import completed, finish, spawn

_VERSION = 4
_SECRET = 32  # bytes of the secret
_PATIENCE = ledger_file.BUSY + 0.5  # seconds for a work on the file, which may have to wait for a lock
_PARTING = 0.5  # seconds to close and mark one that is lost, which a visitor may have waited for already
_KEPT = 7 * 86400.0  # seconds that ended sessions stay in the ledger
_MOST_ENDED = 10_000  # ended sessions that stay, as many as ``tmppool.pools`` remembers
_ABSENT = (Reason.LOST, Reason.REMOVED)  # the backend did not find it
_SOUGHT = 3600.0  # seconds in which a session that the backend did not find may be found yet
_NOT_FOUND = "UPDATE sessions SET network = NULL WHERE ended_at < ? AND network IS NOT NULL"
_TOO_OLD = "DELETE FROM sessions WHERE ended_at < ?"
# Not those that are still being stopped: without its row, a restart would take such a notebook back as a session.
_TOO_MANY = """
DELETE FROM sessions WHERE key IN (
    SELECT key FROM sessions WHERE state = 'gone' AND ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT -1 OFFSET ?
)
"""

# No code reads ``warm_at``: it shows a person who opens the file how long a notebook was warm before it was assigned.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    key TEXT PRIMARY KEY, pool TEXT NOT NULL, state TEXT NOT NULL, visitor TEXT,
    warm_at REAL, assigned_at REAL, expires_at REAL, ended_at REAL, reason TEXT, shared TEXT, network TEXT,
    opened_at REAL, seal TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS sessions_by_state ON sessions (state);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""

_DAMAGE = ("not a database", "malformed")
"""Phrases in SQLite's errors for a corrupt file."""
_MIGRATIONS = {
    1: "ALTER TABLE sessions ADD COLUMN shared TEXT",
    # Nothing is known of sessions of the older version, so all count as opened.
    2: "ALTER TABLE sessions ADD COLUMN network TEXT; ALTER TABLE sessions ADD COLUMN opened_at REAL;"
    " UPDATE sessions SET opened_at = assigned_at",
    3: ledger_seals.MIGRATION,
}
"""SQL that migrates a file from each version to the next."""

_DISBELIEVED = "not as it was written; the sessions concerned go on, with a whole lifetime"

T = TypeVar("T")

_log = structlog.get_logger("tmppool.ledger")


@dataclass(frozen=True, slots=True)
class Row:
    """One notebook's row in the ledger. Times are seconds since the epoch by the ledger's own clock, ``Ledger.now``."""

    key: str
    pool: str
    state: State
    visitor: str | None
    expires_at: float | None
    ended_at: float | None
    reason: Reason | None
    shared: str | None = None
    network: str | None = None
    assigned_at: float | None = None
    opened_at: float | None = None


_FACTS = [field.name for field in fields(Row)]
_COLUMNS = ", ".join(ledger_seals.COLUMNS)
_MARKS = ", ".join("?" * len(ledger_seals.COLUMNS))
_ROW = TypeAdapter(Row)

# What an older file says of a notebook, where it was not used while this service adopted what ran. The owner that it
# names is the owner still, unless the notebook has another by now.
_RECALL = f"""
INSERT INTO sessions ({_COLUMNS}) VALUES ({_MARKS})
ON CONFLICT (key) DO UPDATE SET visitor = coalesce(visitor, excluded.visitor),
    assigned_at = min(coalesce(assigned_at, excluded.assigned_at), coalesce(excluded.assigned_at, assigned_at))
"""  # noqa: S608 - constants


class NewerError(ValueError):
    """The file was written by a newer version of this program."""


class _ForeignError(ValueError):
    """Another process has changed the file."""


class _StillError(OSError):
    """The file's disk takes nothing, and does not fail either."""

    def __init__(self) -> None:
        super().__init__(f"its disk did not take it within {_PATIENCE:.1f} s")


class Ledger:
    """``is_trusted``: an earlier service wrote this file, and none has run without it since.

    ``path`` is None for a file that must not be touched. ``is_ours`` tells if this service holds the lock of the
    directory (it blocks): while another one does, what is at ``path`` is that service's, and is left as it is.
    """

    def __init__(
        self,
        path: Path | None,
        memory: aiosqlite.Connection,
        epoch: Epoch,
        secret: bytes,
        *,
        is_trusted: bool,
        is_ours: Callable[[], bool],
    ) -> None:
        self._path = path
        self._is_ours = is_ours
        self._memory = memory
        self._epoch = epoch
        self._file: aiosqlite.Connection | None = None  # None while it cannot be used
        self._writing: asyncio.Task[Any] | None = None  # the last work on the file
        self._identity: ledger_file.Identity | None = None  # of the file that holds what this service wrote, if any
        self._using = asyncio.Lock()  # held while memory and file are written, or the file is exchanged
        self._writes: asyncio.Queue[_Change] = asyncio.Queue()
        self._owed: list[_Change] = []  # what memory did not take, as the machine had none left
        self._waiting = asyncio.Event()  # set while there may be writes in the queue
        self._writer: asyncio.Task[None] | None = None
        self.secret = secret
        self.is_trusted = is_trusted

    @property
    def is_durable(self) -> bool:
        """True if the file has all facts, False if they are in memory only."""
        return self._file is not None

    @classmethod
    async def open(cls, path: Path, is_ours: Callable[[], bool] = lambda: True) -> "Ledger":
        """Open or create the ledger at ``path``. Falls back to memory and logs why, instead of raising."""
        try:
            ledger = await cls._open_file(path, is_ours)
        except (sqlite3.Error, OSError, ValueError) as error:
            action = await asyncio.to_thread(ledger_file.pass_over, path)
            _log.error("ledger.open_failed", action=action, error=str(error))
            kept = None if isinstance(error, NewerError) else path
            memory = await _connect(":memory:")
            epoch = await asyncio.to_thread(Epoch.of)
            ledger = cls(kept, memory, epoch, await _secret_of(memory), is_trusted=False, is_ours=is_ours)
        ledger.begin()
        return ledger

    @classmethod
    async def _open_file(cls, path: Path, is_ours: Callable[[], bool]) -> "Ledger":
        existed = await asyncio.to_thread(ledger_file.prepare, path)
        was_passed_over = await asyncio.to_thread(ledger_file.missed_marker(path).exists)
        try:
            file = await _connect(path)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            await asyncio.to_thread(ledger_file.set_aside, path, "corrupt")
            _log.error("ledger.set_aside", action="renamed; a new ledger was started", error=str(error))
            await asyncio.to_thread(ledger_file.prepare, path)
            file, existed = await _connect(path), False
        memory = await _connect(":memory:")
        try:
            await _write(memory, await _whole(file))
            secret = await _secret_of(memory)
            kept, its_seal = await _first(memory, _CLOCK), await _first(memory, _CLOCK_SEAL)
            is_sealed = its_seal == ledger_seals.seal(secret, kept).encode()
            epoch = await asyncio.to_thread(Epoch.of, kept if is_sealed else None)
            is_trusted = existed and not was_passed_over
            ledger = cls(path, memory, epoch, secret, is_trusted=is_trusted, is_ours=is_ours)
            await ledger._begin_file(file, was_passed_over=was_passed_over, is_timeless=existed and not is_sealed)
        except BaseException:
            await file.close()
            await memory.close()
            raise
        return ledger

    async def _begin_file(
        self, file: aiosqlite.Connection, *, was_passed_over: bool, is_timeless: bool = False
    ) -> None:
        """Use a file from now on, whose content is in memory; where it missed a run, end all sharing.

        The owner may have ended it while a service ran without this file. ``is_timeless``: by which clock its times
        are is unknown.
        """
        assert self._path is not None
        changes = [*self._pruning(), self._clock_kept()]
        if was_passed_over:
            changes.append(("UPDATE sessions SET shared = NULL", ()))
        if is_timeless:
            changes.append((ledger_seals.TIMELESS, ()))
            _log.warning("ledger.disbelieved", what="its clock", message=_DISBELIEVED)
        for statement, values in changes:
            await self._memory.execute(statement, values)
            await file.execute(statement, values)
        if was_passed_over:
            await asyncio.to_thread(ledger_file.missed_marker(self._path).unlink, missing_ok=True)
            action = "sharing has ended, since the previous service could not use this ledger"
            _log.warning("ledger.resumed", action=action)
        self._identity = await asyncio.to_thread(ledger_file.identity, self._path)
        self._file = file

    def begin(self) -> None:
        """Start the task that writes queued changes."""
        self._writer = spawn(self._write_all(), "ledger writer")
        self._writer.add_done_callback(lambda _writer: self._forget_writes())

    def now(self) -> float:
        """Return the time by the ledger's clock, in seconds since the epoch."""
        return self._epoch.now()

    def wall_of(self, at: float) -> float:
        """Return the wall time, as it is shown to people, of a time in the ledger."""
        return self._epoch.wall_of(at)

    async def rows(self) -> dict[str, Row]:
        """Return all rows by key."""
        return _rows(await _fetched(self._memory, _READ))

    def hear(self, fact: Transition) -> None:
        """Listener: queue the change of the row; ``flush`` waits until it is written."""
        notebook, now = fact.notebook, self.now()
        if fact.to is State.WARM:
            self._put(
                "INSERT OR REPLACE INTO sessions (key, pool, state, warm_at) VALUES (?, ?, ?, ?)",
                (notebook.key, notebook.pool, State.WARM, now),
            )
        elif isinstance(notebook, Notebook) and fact.to is State.ASSIGNED:
            expires_at = None if notebook.expires_at is None else now + notebook.expires_at - fact.at
            opened_at = now if notebook.is_opened else None
            self._put(
                "INSERT INTO sessions (key, pool, state, visitor, assigned_at, expires_at, network, opened_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET state = excluded.state, visitor = excluded.visitor,"
                " assigned_at = coalesce(assigned_at, excluded.assigned_at), expires_at = excluded.expires_at,"
                " network = excluded.network, opened_at = coalesce(opened_at, excluded.opened_at),"
                " ended_at = NULL, reason = NULL",
                (notebook.key, notebook.pool, State.ASSIGNED, notebook.visitor, now, expires_at,
                 notebook.network, opened_at),
            )  # fmt: skip
        elif fact.was is State.ASSIGNED and fact.to is State.GONE:  # another service's: no visitor of this one owns it
            self._put("DELETE FROM sessions WHERE key = ?", (notebook.key,))
        elif fact.was is State.ASSIGNED:
            self._put(
                "UPDATE sessions SET state = ?, ended_at = ?, reason = ?, network = NULL WHERE key = ?",
                (fact.to, now, fact.reason, notebook.key),
            )
        elif fact.to is State.GONE:
            self._put("UPDATE sessions SET state = ?, network = NULL WHERE key = ?", (State.GONE, notebook.key))
            self._put("DELETE FROM sessions WHERE key = ? AND assigned_at IS NULL", (notebook.key,))

    async def note_people(self, notebook: Notebook) -> None:
        """Record the notebook's owner, its network and its sharing; return when they are written."""
        self._put(
            "UPDATE sessions SET visitor = ?, network = ?, shared = ? WHERE key = ?",
            (notebook.visitor, notebook.network, notebook.shared, notebook.key),
        )
        await self.flush()

    def note_opened(self, notebook: Notebook) -> None:
        """Queue that the notebook was opened. Lost in a crash, this costs nothing: its open page opens it again."""
        self._put("UPDATE sessions SET opened_at = ? WHERE key = ?", (self.now(), notebook.key))

    async def note_backend(self, kind: str) -> None:
        """Record the backend's kind, for ``ledger_file.left_behind``; return when it is written."""
        self._put("INSERT OR REPLACE INTO meta VALUES ('backend', ?)", (kind.encode(),))
        await self.flush()

    def postpone(self, seconds: float) -> None:
        """Queue that all sessions end later by this time, in which their visitors could not use them."""
        late = "UPDATE sessions SET expires_at = expires_at + ? WHERE expires_at IS NOT NULL AND ended_at IS NULL"
        self._put(late, (seconds,))

    def prune(self) -> None:
        """Forget sessions that ended long ago, and the oldest of too many: a service may run for years."""
        for statement, values in self._pruning():
            self._put(statement, values)

    async def flush(self) -> None:
        """Return when all queued changes are written: to the file, unless it cannot be used.

        A visitor is redirected only after that. Once the writer has failed it returns at once.
        """
        await self._writes.join()

    async def end_row(self, key: str, reason: Reason) -> None:
        """Record the end of a session whose notebook vanished while no service ran.

        If only its absence was seen, it may be found yet, and then it counts for its network as before.
        """
        self._put(
            "UPDATE sessions SET state = ?, ended_at = ?, reason = ?, network = iif(?, network, NULL) WHERE key = ?",
            (State.GONE, self.now(), reason, reason in _ABSENT, key),
        )
        await self.flush()

    async def keep(self) -> None:
        """Notice within seconds that the file is lost, and write all facts to one again once that is possible."""
        await completed(self._keep(), "keep the ledger")

    async def close(self) -> None:
        """Write the queued changes, then close the file."""
        await self.flush()
        if self._writer is not None:
            await finish({self._writer}, 0.0)
        async with self._using:
            if self._file is not None:
                await self._file.close()
            await self._memory.close()

    # Writing

    def _put(self, statement: str, values: tuple[object, ...]) -> None:
        if self._writer is None or not self._writer.done():
            self._writes.put_nowait((statement, values))
            self._waiting.set()

    def _forget_writes(self) -> None:
        """Drop the queued changes of a writer that has ended, so that ``flush`` does not wait for them."""
        for _ in self._taken():
            self._writes.task_done()

    def _taken(self) -> list["_Change"]:
        """Take all changes from the queue."""
        return [self._writes.get_nowait() for _ in range(self._writes.qsize())]

    async def _write_all(self) -> None:
        while True:
            await self._waiting.wait()
            async with self._using:
                self._waiting.clear()
                taken = self._taken()
                try:
                    await self._write([*self._owed, *taken])
                except Exception as error:  # whatever the file or the machine lacks: later facts are kept in memory
                    await self._lose(_cause(error))
                finally:
                    for _ in taken:
                        self._writes.task_done()

    async def _write(self, batch: list["_Change"]) -> None:
        """Write to memory and to the file. What memory lacks room for is owed to both until the next write."""
        try:
            await _write(self._memory, batch)
        except MemoryError:
            self._owed = batch
            raise
        self._owed = []
        if self._file is not None:
            await self._in_time(self._write_file(self._file, batch), _PATIENCE)

    async def _in_time(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Await a work on the file. If its disk stands still, raise _StillError: the work is left to go on by itself.

        Nothing that is asked of such a disk ends, be it to close the file or to cancel what was asked before.
        """
        writing = spawn(work, "write the ledger's file", awaited=True)
        self._writing = writing
        for _ in range(2):  # in two halves, as this process may have been stopped during one
            await asyncio.wait({writing}, timeout=seconds / 2)
        if self._stands_still:
            raise _StillError
        return writing.result()

    @property
    def _stands_still(self) -> bool:
        """True while a work on the file has not ended."""
        return self._writing is not None and not self._writing.done()

    async def _write_file(self, file: aiosqlite.Connection, batch: list["_Change"]) -> None:
        """Write to the file. Raises _ForeignError if another process has changed it: what it holds is then in doubt."""
        assert self._path is not None
        assert self._identity is not None
        found = await asyncio.to_thread(ledger_file.identity, self._path)
        why = ledger_file.difference(found, self._identity)
        if why is not None:
            raise _ForeignError(why)
        await _write(file, batch)
        self._identity = await asyncio.to_thread(ledger_file.identity, self._path) or self._identity

    def _pruning(self) -> list["_Change"]:
        now = self.now()
        return [(_TOO_OLD, (now - _KEPT,)), (_TOO_MANY, (_MOST_ENDED,)), (_NOT_FOUND, (now - _SOUGHT,))]

    def _clock_kept(self) -> "_Change":
        kept = self._epoch.kept
        its_seal = ledger_seals.seal(self.secret, kept).encode()
        return "INSERT OR REPLACE INTO meta VALUES ('clock', ?), ('clock seal', ?)", (kept, its_seal)

    # Losing the file, and writing it anew

    async def _keep(self) -> None:
        if self._path is None:
            return
        if self._file is None and not self._stands_still and await asyncio.to_thread(self._is_ours):
            await self._restore(self._path)
        self._put(*self._clock_kept())  # a write that shows whether the file is ours, and takes any
        await self.flush()

    async def _lose(self, why: str) -> None:
        """Go on with what is in memory. A later service must not trust the file, which misses things from now on."""
        broken, self._file = self._file, None
        try:
            abandoning = self._abandon(broken, self._writing)
            action = await self._in_time(abandoning, 0.0 if self._stands_still else _PARTING)
        except _StillError:
            action = "continuing without it until its disk answers"
        except Exception as error:  # as where no thread can be started
            action = f"continuing without it; that could not be noted: {error}"
        _log.error("ledger.lost", why=why, action=action)

    async def _abandon(self, broken: aiosqlite.Connection | None, last: asyncio.Task[Any] | None) -> str:
        """Close a file after the ``last`` work on it, and mark that it misses something; return what was done."""
        await self._part_with(broken, last)
        return await asyncio.to_thread(self._pass_over)

    async def _part_with(self, broken: aiosqlite.Connection | None, last: asyncio.Task[Any] | None) -> None:
        """Close a file, also if the service ends meanwhile: one that is left open keeps the process from its end."""
        while last is not None and not last.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({last})
        if broken is not None:
            with contextlib.suppress(sqlite3.Error, ValueError):  # it is abandoned in any case
                await broken.close()

    def _pass_over(self) -> str:
        assert self._path is not None
        if self._is_ours():
            return ledger_file.pass_over(self._path)
        return "continuing without it; what is there is left as it is, since this service does not hold its lock"

    async def _restore(self, path: Path) -> None:
        """Try to write all facts to the file, or to a new one if there is none or another's.

        Clicks do not wait while the old content is checked, which takes long: nothing else touches the file meanwhile.
        """
        try:
            await asyncio.to_thread(ledger_file.make_way, path, self._identity)
            file = await _connect(path, _SHORT)
        except (sqlite3.Error, OSError, ValueError) as error:
            if self._identity is None and isinstance(error, NewerError):
                self._path = None
            elif isinstance(error, sqlite3.DatabaseError) and _is_damage(error):
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(ledger_file.set_aside, path, "corrupt")
            return
        try:
            await self._write_anew(file, path)
        except _StillError:  # what was left to go on takes the mark away, and misses what came since
            await self._abandon(file, self._writing)
            return
        except BaseException as error:  # whatever it was: the next try is as good, and this file is not to stay open
            await self._part_with(file, self._writing)
            if not isinstance(error, Exception):
                raise
            return
        _log.warning("ledger.rewritten", message="the ledger on disk has all facts again")

    async def _write_anew(self, file: aiosqlite.Connection, path: Path) -> None:
        """Replace the content of a file by what is in memory, and use and trust it from then on."""
        # One that was passed over at the start: only it knows the owners of older sessions.
        older = await _fetched(file, _UNSHARED) if self._identity is None else []
        async with self._using:
            await _write(self._memory, [(_RECALL, values) for values in older])
            await self._in_time(self._fill(file, path, await _whole(self._memory)), _PATIENCE)
            self._file = file

    async def _fill(self, file: aiosqlite.Connection, path: Path, whole: list["_Change"]) -> None:
        """Write everything to a file, from which the mark is taken that it misses something."""
        await ledger_seals.know(file, self.secret)
        await _write(file, whole)
        await file.execute(f"PRAGMA busy_timeout={ledger_file.BUSY * 1000:.0f}")
        await asyncio.to_thread(ledger_file.missed_marker(path).unlink, missing_ok=True)
        self._identity = await asyncio.to_thread(ledger_file.identity, path)


# The databases

_Change = tuple[str, tuple[object, ...]]
# No file is mapped into memory, as a write-ahead log's index is: truncated by anybody, that ends the process (SIGBUS).
# Nothing waits for the disk: what a crash of the machine takes from the file is about notebooks that it ended as well.
_SAFE = "PRAGMA mmap_size=0", "PRAGMA journal_mode=DELETE", "PRAGMA synchronous=OFF"
_SHORT = 0.1  # seconds to wait for another process's lock while visitors may wait
_READ = f"SELECT {', '.join(_FACTS)} FROM sessions"  # noqa: S608 - constants, as the next
_EVERYTHING = f"SELECT {_COLUMNS} FROM sessions", "SELECT name, value FROM meta"  # noqa: S608
_UNSHARED = _EVERYTHING[0].replace("shared", "NULL")  # an owner may have ended it while the file was not used
_INSERT = (
    f"INSERT INTO sessions ({_COLUMNS}) VALUES ({_MARKS})",  # noqa: S608
    "INSERT INTO meta (name, value) VALUES (?, ?)",
)
_CLOCK = "SELECT value FROM meta WHERE name = 'clock'"
_CLOCK_SEAL = "SELECT value FROM meta WHERE name = 'clock seal'"


async def _connect(path: Path | str, patience: float | None = None) -> aiosqlite.Connection:
    """Open a ledger, of this version afterwards, and check all that is in it; ``:memory:`` is an empty one.

    ``patience`` is how many seconds to wait for another process's lock, ``BUSY`` if it is None. Raises NewerError;
    sqlite3.Error, with one of ``_DAMAGE`` if it is corrupt.
    """
    busy = ledger_file.BUSY if patience is None else patience
    database = await aiosqlite.connect(path, timeout=busy, isolation_level=None)
    database.text_factory = ledger_seals.text
    try:
        version = await _first(database, "PRAGMA user_version")
        if not isinstance(version, int) or version < 0:
            raise sqlite3.DatabaseError("malformed version")  # noqa: TRY301 - closes the connection
        if version > _VERSION:
            why = f"{path} was written by a newer tmppool (schema version {version}, this one knows up to {_VERSION})"
            raise NewerError(why)  # noqa: TRY301 - the connection is closed on the way
        for way in _SAFE:
            await database.execute(way)
        await database.executescript(_SCHEMA)
        await database.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_bytes(_SECRET),))
        await ledger_seals.know(database, await _secret_of(database))
        for old in range(version or _VERSION, _VERSION):
            await database.executescript(f"BEGIN; {_MIGRATIONS[old]}; PRAGMA user_version={old + 1}; COMMIT;")
        await database.execute(f"PRAGMA user_version={_VERSION}")
        if count := await ledger_seals.disbelieve(database):
            _log.warning("ledger.disbelieved", what=f"{count} of its rows", message=_DISBELIEVED)
        # All of it, as far as it is believed: damage beyond the file's head shows only then.
        await asyncio.to_thread(_rows, await _fetched(database, _READ))
    except BaseException:
        await database.close()
        raise
    return database


async def _whole(database: aiosqlite.Connection) -> list[_Change]:
    """Return the changes that make another ledger equal to this one."""
    changes: list[_Change] = [("DELETE FROM sessions", ()), ("DELETE FROM meta", ())]
    for query, insert in zip(_EVERYTHING, _INSERT, strict=True):
        changes += [(insert, values) for values in await _fetched(database, query)]
    return changes


async def _fetched(database: aiosqlite.Connection, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await database.execute_fetchall(query)]


async def _write(database: aiosqlite.Connection, batch: Iterable[_Change]) -> None:
    """Make all changes, or none. Raises sqlite3.Error."""
    await database.execute("BEGIN IMMEDIATE")
    try:
        for statement, equal in itertools.groupby(batch, operator.itemgetter(0)):  # one call for a whole table's rows
            await database.executemany(statement, [values for _, values in equal])
        await database.execute("COMMIT")
    except BaseException:
        # Where no transaction is open, ROLLBACK fails too; that must hide neither the cause nor a cancellation.
        with contextlib.suppress(sqlite3.Error, ValueError):
            await database.execute("ROLLBACK")
        raise


def _rows(found: Iterable[Iterable[object]]) -> dict[str, Row]:
    """Return rows, read in the order of ``_FACTS``, by key. Raises sqlite3.DatabaseError for a damaged one."""
    rows = {}
    for values in found:
        facts = dict(zip(_FACTS, values, strict=True))
        if facts["reason"] not in set(Reason):  # from a later version
            facts["reason"] = None
        try:
            row = _ROW.validate_python(facts)
        except ValueError as error:
            raise sqlite3.DatabaseError("malformed row") from error
        rows[row.key] = row
    return rows


def _is_damage(error: sqlite3.Error) -> bool:
    return any(word in str(error) for word in _DAMAGE)


def _cause(error: Exception) -> str:
    """Return why a write failed, for the log."""
    is_busy = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return "another process has locked it" if is_busy else str(error) or type(error).__name__


async def _secret_of(database: aiosqlite.Connection) -> bytes:
    """Return the secret. Raises sqlite3.DatabaseError if it is none."""
    found = await _first(database, "SELECT value FROM meta WHERE name = 'secret'")
    if not isinstance(found, bytes) or len(found) != _SECRET:
        raise sqlite3.DatabaseError("malformed secret")
    return found


async def _first(database: aiosqlite.Connection, query: str) -> object:
    async with database.execute(query) as cursor:
        row = await cursor.fetchone()
    return None if row is None else row[0]
