"""Sessions in SQLite: who owns which notebook, since when, until when, and why past sessions ended.

The engine decides what exists; this file holds what the engine cannot. A ledger that is unreadable or from a newer
version is not touched; one that is corrupt or fails a write is renamed. The service then goes on with a ledger in
memory. A file that is not touched misses what happens meanwhile: a ``.missed`` file beside it tells the next service,
which uses what the ledger contains but concludes nothing from what it lacks.
"""

import asyncio
import contextlib
import secrets
import sqlite3
import time
from dataclasses import dataclass, fields
from pathlib import Path

import aiosqlite
import structlog
from pydantic import TypeAdapter

from tmppool import ledger_file
from tmppool.clocks import wall_of
from tmppool.notebook import Notebook, Reason, State, Transition
from tmppool.tasks import finish, spawn

_VERSION = 3
_KEPT = 7 * 86400.0  # seconds that ended sessions stay in the ledger
_MOST_ENDED = 10_000  # ended sessions that stay, as many as ``tmppool.pools`` remembers
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
    opened_at REAL
) STRICT;
CREATE INDEX IF NOT EXISTS sessions_by_state ON sessions (state);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""

_DAMAGE = ("not a database", "malformed", "decode to UTF-8")
"""Phrases in SQLite's errors for a corrupt file."""
_MIGRATIONS = {
    1: "ALTER TABLE sessions ADD COLUMN shared TEXT",
    # Nothing is known of sessions of the older version, so all count as opened.
    2: "ALTER TABLE sessions ADD COLUMN network TEXT; ALTER TABLE sessions ADD COLUMN opened_at REAL;"
    " UPDATE sessions SET opened_at = assigned_at",
}
"""SQL that migrates a file from each version to the next."""

_log = structlog.get_logger("tmppool.ledger")


@dataclass(frozen=True, slots=True)
class Row:
    """One notebook's row in the ledger. Times are wall times in epoch seconds."""

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
_ROW = TypeAdapter(Row)


class Ledger:
    """``is_trusted``: an earlier service wrote this file, and none has run without it since."""

    def __init__(self, database: aiosqlite.Connection, path: Path | None, secret: bytes, *, is_trusted: bool) -> None:
        self._database = database
        self._path = path
        self._writes: asyncio.Queue[tuple[str, tuple[object, ...]]] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None
        self.secret = secret
        self.is_trusted = is_trusted

    @property
    def is_durable(self) -> bool:
        """True if writes go to a file, False if the ledger is in memory only."""
        return self._path is not None

    @classmethod
    async def open(cls, path: Path) -> "Ledger":
        """Open or create the ledger at ``path``. Falls back to memory and logs why, instead of raising."""
        try:
            ledger = await cls._open_file(path)
        except (sqlite3.Error, OSError, ValueError) as error:
            action = await asyncio.to_thread(ledger_file.pass_over, path)
            _log.error("ledger.open_failed", action=action, error=str(error))
            ledger = await cls._connect(None, is_trusted=False)
        ledger.begin()
        return ledger

    @classmethod
    async def _open_file(cls, path: Path) -> "Ledger":
        existed = await asyncio.to_thread(ledger_file.prepare, path)
        was_passed_over = await asyncio.to_thread(ledger_file.missed_marker(path).exists)
        try:
            ledger = await cls._connect(path, is_trusted=existed and not was_passed_over)
            if was_passed_over:
                await ledger.catch_up()
            return ledger  # noqa: TRY300 - errors here are the file's fault too
        except sqlite3.DatabaseError as error:
            if not any(word in str(error) for word in _DAMAGE):
                raise
            await asyncio.to_thread(ledger_file.set_aside, path, "corrupt")
            _log.error("ledger.set_aside", action="renamed; a new ledger was started", error=str(error))
        await asyncio.to_thread(ledger_file.prepare, path)
        return await cls._connect(path, is_trusted=False)

    async def catch_up(self) -> None:
        """End all sharing, since an owner may have ended it while a service ran without this file."""
        assert self._path is not None
        await self._database.execute("UPDATE sessions SET shared = NULL")
        await asyncio.to_thread(ledger_file.missed_marker(self._path).unlink, missing_ok=True)
        _log.warning("ledger.resumed", action="sharing has ended, since the previous service could not use this ledger")

    def begin(self) -> None:
        """Start the task that writes queued changes."""
        self._writer = spawn(self._write_all(), "ledger writer")
        self._writer.add_done_callback(lambda _writer: self._forget_writes())

    @classmethod
    async def _connect(cls, path: Path | None, *, is_trusted: bool) -> "Ledger":
        database = await aiosqlite.connect(path or ":memory:", timeout=ledger_file.BUSY, isolation_level=None)
        try:
            version = await _one(database, "PRAGMA user_version")
            if not isinstance(version, int) or version < 0:
                raise sqlite3.DatabaseError("malformed version")  # noqa: TRY301 - closes the connection
            if version > _VERSION:
                why = (
                    f"{path} was written by a newer tmppool (schema version {version}, this one knows up to {_VERSION})"
                )
                raise ValueError(why)  # noqa: TRY301 - the connection is closed on the way
            await database.execute("PRAGMA journal_mode=WAL")
            await database.execute("PRAGMA synchronous=NORMAL")
            for old in range(version or _VERSION, _VERSION):
                await database.executescript(f"BEGIN; {_MIGRATIONS[old]}; PRAGMA user_version={old + 1}; COMMIT;")
            await database.executescript(_SCHEMA)
            await database.execute(f"PRAGMA user_version={_VERSION}")
            for statement, values in _pruning():
                await database.execute(statement, values)
            fresh = secrets.token_bytes(32)
            await database.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (fresh,))
            secret = await _one(database, "SELECT value FROM meta WHERE name = 'secret'")
            if not isinstance(secret, bytes) or len(secret) != len(fresh):
                raise sqlite3.DatabaseError("malformed secret")  # noqa: TRY301 - the connection is closed on the way
            ledger = cls(database, path, secret, is_trusted=is_trusted)
            await ledger.rows()  # read everything: damage beyond the file's head shows only then
        except BaseException:
            await database.close()
            raise
        return ledger

    async def rows(self) -> dict[str, Row]:
        """Return all rows by key. Raises sqlite3.DatabaseError for a damaged row."""
        cursor = await self._database.execute(f"SELECT {', '.join(_FACTS)} FROM sessions")  # noqa: S608 - constant
        found = {}
        async for values in cursor:
            facts = dict(zip(_FACTS, values, strict=True))
            if facts["reason"] not in set(Reason):  # from a later version
                facts["reason"] = None
            try:
                row = _ROW.validate_python(facts)
            except ValueError as error:
                raise sqlite3.DatabaseError("malformed row") from error
            found[row.key] = row
        return found

    def hear(self, fact: Transition) -> None:
        """Listener: queue the change of the row; ``flush`` waits until it is written."""
        notebook, now = fact.notebook, time.time()
        if fact.to is State.WARM:
            self._put(
                "INSERT OR REPLACE INTO sessions (key, pool, state, warm_at) VALUES (?, ?, ?, ?)",
                (notebook.key, notebook.pool, State.WARM, now),
            )
        elif isinstance(notebook, Notebook) and fact.to is State.ASSIGNED:
            expires_at = None if notebook.expires_at is None else wall_of(notebook.expires_at, fact.at)
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
        self._put("UPDATE sessions SET opened_at = ? WHERE key = ?", (time.time(), notebook.key))

    async def note_backend(self, kind: str) -> None:
        """Record the backend's kind, for ``ledger_file.left_behind``; return when it is written."""
        self._put("INSERT OR REPLACE INTO meta VALUES ('backend', ?)", (kind.encode(),))
        await self.flush()

    def prune(self) -> None:
        """Forget sessions that ended long ago, and the oldest of too many: a service may run for years."""
        for statement, values in _pruning():
            self._put(statement, values)

    async def flush(self) -> None:
        """Return when all queued changes are written. A visitor is redirected only after that.

        Once the writer has failed, nothing is written: ``is_durable`` is False, and this returns at once.
        """
        await self._writes.join()

    async def end_row(self, key: str, reason: Reason) -> None:
        """Record the end of a session whose notebook vanished while no service ran."""
        self._put(
            "UPDATE sessions SET state = ?, ended_at = ?, reason = ?, network = NULL WHERE key = ?",
            (State.GONE, time.time(), reason, key),
        )
        await self.flush()

    async def close(self) -> None:
        """Write the queued changes, then close the file."""
        await self.flush()
        if self._writer is not None:
            await finish({self._writer}, 0.0)
        await self._database.close()

    def _put(self, statement: str, values: tuple[object, ...]) -> None:
        if self._writer is None or not self._writer.done():
            self._writes.put_nowait((statement, values))

    def _forget_writes(self) -> None:
        """Drop the queued changes of a writer that has ended, so that ``flush`` does not wait for them."""
        while not self._writes.empty():
            self._writes.get_nowait()
            self._writes.task_done()

    async def _write_all(self) -> None:
        while True:
            batch = [await self._writes.get()]
            while not self._writes.empty():
                batch.append(self._writes.get_nowait())
            try:
                await self._write(batch)
            except (sqlite3.Error, ValueError) as error:  # ValueError: aiosqlite's connection is gone
                await self._give_up(error)
            finally:
                for _ in batch:
                    self._writes.task_done()

    async def _write(self, batch: list[tuple[str, tuple[object, ...]]]) -> None:
        await self._database.execute("BEGIN IMMEDIATE")
        try:
            for statement, values in batch:
                await self._database.execute(statement, values)
            await self._database.execute("COMMIT")
        except BaseException:
            # Where no transaction is open, ROLLBACK fails too; that must hide neither the cause nor a cancellation.
            with contextlib.suppress(sqlite3.Error, ValueError):
                await self._database.execute("ROLLBACK")
            raise

    async def _give_up(self, error: Exception) -> None:
        """Rename the file, as a later service would trust it though it is incomplete, and go on in memory."""
        action = "renamed; continuing without a ledger on disk"
        path, self._path = self._path, None
        if path is not None:
            try:
                await asyncio.to_thread(ledger_file.set_aside, path, "incomplete")
            except OSError:
                action = await asyncio.to_thread(ledger_file.pass_over, path)
        _log.error("ledger.write_failed", action=action, error=str(error))
        broken = self._database
        fallback = await self._connect(None, is_trusted=False)
        self._database = fallback._database  # noqa: SLF001 - its own class
        with contextlib.suppress(sqlite3.Error, ValueError):  # it is abandoned in any case
            await broken.close()


def _pruning() -> list[tuple[str, tuple[object, ...]]]:
    return [(_TOO_OLD, (time.time() - _KEPT,)), (_TOO_MANY, (_MOST_ENDED,))]


async def _one(database: aiosqlite.Connection, query: str) -> object:
    async with database.execute(query) as cursor:
        row = await cursor.fetchone()
    return None if row is None else row[0]
