"""The ledger's file: read at a start, kept up to date, lost, and written anew. Everything here blocks, in one thread.

The file is open, or lost. An open one takes each batch of changed rows. Whatever goes wrong with that loses it; a lost
one is written anew, whole, beside its place and then renamed, and nothing of the old one is read. Only where another
process has locked it, it stays open and is tried again: it lacks the rows that it did not take, and nothing else.

A file that may miss something has a mark beside it (``ledger_file.missed_marker``), set as soon as it is lost. It is
removed after the first write whose rows are all that there are: from then on everybody waits for what they change.
"""

import contextlib
import secrets
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from tmppool import ledger_file, ledger_rows
from tmppool.clocks import Epoch
from tmppool.ledger_rows import COLUMNS, Row
from tmppool.state_dir import Held

_VERSION = 4
_SEALED = 4  # the first version whose rows and clock have seals
_OPENINGS = 3  # the first version that noted openings
_SECRET = 32  # bytes of the secret

_SCHEMA = f"""
CREATE TABLE sessions (
    key TEXT PRIMARY KEY, pool TEXT NOT NULL, state TEXT NOT NULL, visitor TEXT,
    warm_at REAL, assigned_at REAL, expires_at REAL, ended_at REAL, reason TEXT, shared TEXT, network TEXT,
    opened_at REAL, seal TEXT
) STRICT;
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
PRAGMA user_version={_VERSION};
"""
_ALL = (*COLUMNS, "seal")
_PUT_ROW = f"INSERT OR REPLACE INTO sessions ({', '.join(_ALL)}) VALUES ({', '.join('?' * len(_ALL))})"  # noqa: S608 - names of our own
_PUT_META = "INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)"
# No file is mapped into memory, as a write-ahead log's index is: truncated by anybody, that ends the process (SIGBUS).
# Nothing waits for the disk: what a crash of the machine takes from the file is about notebooks that it ended as well.
_SAFE = "PRAGMA mmap_size=0", "PRAGMA synchronous=OFF"

_DAMAGE = ("not a database", "malformed")
"""Phrases in SQLite's errors for a corrupt file."""
_DISBELIEVED = "not as it was written; the sessions concerned go on, with a whole lifetime"

_log = structlog.get_logger("tmppool.ledger")


class _NewerError(ValueError):
    """The file was written by a newer version of this program."""


class _UnusableError(ValueError):
    """The file is not this service's to write, or not as it left it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A write. ``changed`` are the keys to bring up to date, by ``rows``; one that has no row there is deleted.

    ``rows`` are all rows where the file is not open. ``is_waited_for``: everybody waits for what they changed since,
    so that after this write the file misses nothing.
    """

    rows: Mapping[str, Row]
    changed: Collection[str]
    meta: Mapping[str, bytes]
    is_waited_for: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The facts that a service starts with. ``meta`` is what a file holds beside the rows, by name.

    ``is_trusted``: an earlier service wrote the file, and none has run without it since.
    """

    epoch: Epoch
    meta: dict[str, bytes]
    rows: dict[str, Row] = field(default_factory=dict)
    is_trusted: bool = False

    @classmethod
    def nothing(cls) -> "Found":
        """Return what a service knows that has no ledger yet."""
        secret, epoch = secrets.token_bytes(_SECRET), Epoch.of()
        return cls(epoch, _meta(secret, epoch, {}))


class Store:
    """The file at ``path``. ``holding`` is the lock of its directory, held until ``give_up``; None if there is none.

    ``is_unread``: it could not be used at the start, so it alone may know owners of older sessions, and is not written
    until its user has them from ``recall``, and says so. ``is_barred``: it is a newer version's, and never written.
    """

    def __init__(self, path: Path, holding: Held | None = None) -> None:
        self.is_unread = True
        self.is_barred = False
        self._path = path
        self._holding = holding
        self._database: sqlite3.Connection | None = None
        self._identity: ledger_file.Identity | None = None  # of the file that holds what this service wrote, if any
        self._is_marked = False
        if holding is not None:
            holding.use()

    @property
    def is_open(self) -> bool:
        """True if the file holds all rows but those that it has not taken yet."""
        return self._database is not None

    def begin(self) -> Found:
        """Read the file and write it anew, so that no damage stays in it. If it cannot be used, log why."""
        found = None
        try:
            was_missed = ledger_file.missed_marker(self._path).exists()
            found, self.is_unread = self._read(), False
            if was_missed:
                found = self._resumed(found)
            self.write(Batch(found.rows, (), found.meta, is_waited_for=True))
        except (sqlite3.Error, OSError, ValueError, MemoryError) as error:
            _log.error("ledger.open_failed", action=self._mark(), error=cause(error))
        return found or Found.nothing()

    def recall(self) -> dict[str, Row]:
        """Return the rows of a file that could not be used at the start. Raises what is wrong with it."""
        self._refuse_others()
        return self._read().rows

    def write(self, batch: Batch) -> None:
        """Bring the file up to date. Raises whatever is wrong: it is lost then, or locked by another process."""
        try:
            if self._database is None:
                self._write_anew(batch)
            else:
                self._write_changes(self._database, batch)
        except BaseException as error:
            if not _is_busy(error):
                self._lose()
            raise
        if self._is_marked and batch.is_waited_for:
            ledger_file.missed_marker(self._path).unlink(missing_ok=True)
            self._is_marked = False

    def pass_over(self) -> str:
        """Mark the file, which a later service must not trust, if it is ours; return what was done, for the log."""
        if self._holding is not None and not self._holding.is_ours():
            return "continuing without it; what is there is left as it is, since this service does not hold its lock"
        return self._mark()

    def close(self, batch: Batch) -> None:
        """Write what the file lacks, or else mark it, and give the lock back. Raises what ``write`` raises."""
        try:
            self.write(batch)
        except Exception:
            if not self._is_marked:
                self.pass_over()
            raise
        finally:
            self.give_up()

    def give_up(self) -> None:
        """Close the file as it is, and give the lock back."""
        self._lose()
        if self._holding is not None:
            self._holding.close()

    def _read(self) -> Found:
        """Return what the file holds, as far as it is believed. A corrupt one is renamed, and there is nothing."""
        existed = ledger_file.prepare(self._path)
        try:
            found = _content(self._path)
        except _NewerError:
            self.is_barred = True
            raise
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            ledger_file.set_aside(self._path, "corrupt")
            _log.error("ledger.set_aside", action="renamed; a new ledger was started", error=str(error))
            existed, found = False, Found.nothing()
        return replace(found, is_trusted=existed)

    def _resumed(self, found: Found) -> Found:
        """Return what is believed of a file that missed a run: its owners may have ended all sharing in that."""
        self._is_marked = True
        action = "sharing has ended, since the previous service could not use this ledger"
        _log.warning("ledger.resumed", action=action)
        rows = {key: replace(row, shared=None) for key, row in found.rows.items()}
        return replace(found, rows=rows, is_trusted=False)

    def _mark(self) -> str:
        self._is_marked = True
        return ledger_file.pass_over(self._path)

    def _lose(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):  # it is abandoned in any case
                database.close()

    def _refuse_others(self) -> None:
        if self._holding is not None and not self._holding.is_ours():
            raise _UnusableError("this service does not hold its lock")

    def _write_changes(self, database: sqlite3.Connection, batch: Batch) -> None:
        assert self._identity is not None
        why = ledger_file.difference(ledger_file.identity(self._path), self._identity)
        if why is not None:  # what it holds is in doubt
            raise _UnusableError(why)
        _put(database, batch, batch.changed)
        self._identity = ledger_file.identity(self._path) or self._identity

    def _write_anew(self, batch: Batch) -> None:
        if self.is_barred or self.is_unread:
            raise _UnusableError("what it holds is not known")
        self._refuse_others()
        new = ledger_file.begin_anew(self._path)
        try:
            with contextlib.closing(_connect(new)) as database:
                database.executescript(_SCHEMA)
                _put(database, batch, batch.rows)
            ledger_file.put_in_place(new, self._path, self._identity)
        finally:
            new.unlink(missing_ok=True)
        self._identity = ledger_file.identity(self._path)
        self._database = _connect(self._path)


def cause(error: BaseException) -> str:
    """Return why the file cannot be used, for the log."""
    return "another process has locked it" if _is_busy(error) else str(error) or type(error).__name__


# SQLite


def _connect(path: Path) -> sqlite3.Connection:
    """Open a database, for this thread alone."""
    database = sqlite3.connect(path, timeout=ledger_file.BUSY, isolation_level=None)
    try:
        database.text_factory = ledger_rows.text
        for way in _SAFE:
            database.execute(way)
    except BaseException:
        database.close()
        raise
    return database


def _put(database: sqlite3.Connection, batch: Batch, keys: Collection[str]) -> None:
    """Write the rows of these keys, or delete them, and all that is beside them: all of it, or nothing."""
    rows, secret = batch.rows, batch.meta["secret"]
    database.execute("BEGIN IMMEDIATE")
    try:
        database.executemany("DELETE FROM sessions WHERE key = ?", [(key,) for key in keys if key not in rows])
        database.executemany(_PUT_ROW, [ledger_rows.stored(rows[key], secret) for key in keys if key in rows])
        database.executemany(_PUT_META, batch.meta.items())
        database.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # where no transaction is open it fails too; that must not hide why
            database.execute("ROLLBACK")
        raise


def _content(path: Path) -> Found:
    """Return what a ledger of any version holds. Raises _NewerError; sqlite3.Error, see ``_is_damage``."""
    with contextlib.closing(_connect(path)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version < 0:
            raise sqlite3.DatabaseError("malformed version")
        if version > _VERSION:
            why = f"{path} was written by a newer tmppool (schema version {version}, this one knows up to {_VERSION})"
            raise _NewerError(why)
        version = version or _VERSION
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        meta = dict(database.execute("SELECT name, value FROM meta")) if "meta" in tables else {}
        raw = list(_raw_rows(database)) if "sessions" in tables else []
    secret = meta.get("secret", secrets.token_bytes(_SECRET))
    if not isinstance(secret, bytes) or len(secret) != _SECRET:
        raise sqlite3.DatabaseError("malformed secret")
    return _believed(version, secret, meta, raw)


def _raw_rows(database: sqlite3.Connection) -> Iterator[dict[str, object]]:
    """Yield all rows, as far as SQLite can read them, by a scan: what a damaged row is found by may be damaged too.

    One that cannot be read is empty. It ends SQLite's scan, so each of the others is then read by its position. Raises
    sqlite3.DatabaseError if there are no others, or the table itself cannot be read.
    """
    scan = "SELECT * FROM sessions NOT INDEXED"
    try:
        rows = database.execute(scan).fetchall()
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        (count,) = database.execute("SELECT count(*) FROM sessions NOT INDEXED").fetchone()
        rows = [_read_one(database, f"{scan} LIMIT 1 OFFSET {number}") for number in range(count)]
        if not any(rows):
            raise
    names = [column[0] for column in database.execute(f"{scan} LIMIT 0").description]
    for row in rows:
        yield dict(zip(names, row, strict=False))


def _read_one(database: sqlite3.Connection, query: str) -> tuple[object, ...]:
    try:
        return tuple(database.execute(query).fetchone() or ())
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        return ()


def _believed(version: int, secret: bytes, meta: Mapping[str, object], raw: list[dict[str, object]]) -> Found:
    """Judge what was read. Of a version without seals everything is believed that can be."""
    kept = meta.get("clock")
    is_timed = version < _SEALED or meta.get("clock seal") == ledger_rows.seal(secret, kept).encode() or not meta
    epoch = Epoch.of(kept if is_timed else None)
    rows, doubtful = {}, 0
    for found in raw:
        if version < _OPENINGS:  # nothing is known of their opening, so all count as opened
            found["opened_at"] = found.get("assigned_at")
        row, is_whole = ledger_rows.judged(found, secret if version >= _SEALED else None, epoch.now())
        doubtful += not is_whole
        if row is not None and (is_whole or row.key not in rows):
            rows[row.key] = row if is_timed else ledger_rows.timeless(row)
    for what in [f"{doubtful} of its rows"] * bool(doubtful) + ["its clock"] * (not is_timed):
        _log.warning("ledger.disbelieved", what=what, message=_DISBELIEVED)
    return Found(epoch, _meta(secret, epoch, meta), rows)


def _meta(secret: bytes, epoch: Epoch, known: Mapping[str, object]) -> dict[str, bytes]:
    """Return what stands beside the rows from now on: secret, clock, and the backend if it is known."""
    its_seal = ledger_rows.seal(secret, epoch.kept).encode()
    kind = known.get("backend")
    backend = {"backend": kind} if isinstance(kind, bytes) else {}
    return {"secret": secret, "clock": epoch.kept, "clock seal": its_seal, **backend}


def _is_damage(error: sqlite3.Error) -> bool:
    return any(word in str(error) for word in _DAMAGE)


def _is_busy(error: BaseException) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
