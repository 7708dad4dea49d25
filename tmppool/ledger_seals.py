"""Seals of the ledger: whether a row, and the clock, are as a service wrote them.

A row can end a session at a start: it says that its end was decided, or that its time is up. What damage or a hand has
changed is not believed in that: the session goes on, with a whole lifetime. If the row says that it has ended, it
counts as lost since now: nobody looks for it, but it goes on if it turns out to run.

A seal is a digest, keyed with the ledger's secret, of all that a row says. Triggers of a connection renew it with each
write; other programs, which have other connections, leave it as it was. It protects against accidents, not against
somebody who reads the secret.
"""

import functools
import hashlib

import aiosqlite

_BYTES = 12  # of a digest

COLUMNS = (
    "key", "pool", "state", "visitor", "warm_at", "assigned_at", "expires_at", "ended_at", "reason", "shared",
    "network", "opened_at",
)  # fmt: skip
"""All columns of a row but its seal."""

_TIMES = ("warm_at", "assigned_at", "expires_at", "ended_at", "opened_at")
# Texts as blobs: SQLite cannot pass one that is no UTF-8 to a function, by which the whole file could not be used.
_SEAL = f"row_seal({', '.join(name if name in _TIMES else f'CAST({name} AS BLOB)' for name in COLUMNS)})"
_RENEWED = f"BEGIN UPDATE sessions SET seal = {_SEAL} WHERE key = NEW.key; END"  # noqa: S608 - constants, as all here
_TRIGGERS = (
    f"CREATE TEMP TRIGGER IF NOT EXISTS sealed_insert AFTER INSERT ON main.sessions {_RENEWED}",
    f"CREATE TEMP TRIGGER IF NOT EXISTS sealed_update AFTER UPDATE OF {', '.join(COLUMNS)} ON main.sessions {_RENEWED}",
)

MIGRATION = f"""
ALTER TABLE sessions ADD COLUMN seal TEXT;
UPDATE sessions SET seal = {_SEAL};
INSERT OR IGNORE INTO meta VALUES ('clock', CAST('' AS BLOB));
INSERT OR REPLACE INTO meta SELECT 'clock seal', CAST(seal(value) AS BLOB) FROM meta WHERE name = 'clock';
"""  # noqa: S608
"""SQL that seals what an older version wrote, without the triggers."""

# One that was never assigned needs no row: its backend tells that. A key that is no text is no notebook's.
# S608: only SQL of this module is put in.
_DISBELIEVED = (
    "DELETE FROM sessions WHERE key IS NOT text(CAST(key AS BLOB))",
    f"DELETE FROM sessions WHERE assigned_at IS NULL AND seal IS NOT {_SEAL}",  # noqa: S608
    f"""
UPDATE sessions SET state = 'gone', expires_at = NULL, ended_at = CAST(strftime('%s', 'now') AS REAL), reason = 'lost'
WHERE ended_at IS NOT NULL AND seal IS NOT {_SEAL}
""",  # noqa: S608
    f"""
UPDATE sessions SET state = 'assigned', assigned_at = NULL, expires_at = NULL, reason = NULL WHERE seal IS NOT {_SEAL}
""",  # noqa: S608
)

TIMELESS = "UPDATE sessions SET assigned_at = NULL, expires_at = NULL WHERE ended_at IS NULL"
"""SQL for rows of a clock that is not believed: when their sessions end is unknown."""


def seal(secret: bytes, *values: object) -> str:
    """Return the seal of these values, which SQLite can store."""
    return hashlib.blake2b(repr(values).encode(), key=secret, digest_size=_BYTES).hexdigest()


def text(stored: bytes) -> str:
    """Return a stored text; one that was damaged is none that was written."""
    return stored.decode(errors="replace")


def _row_seal(secret: bytes, *values: object) -> str:
    return seal(secret, *(text(value) if isinstance(value, bytes) else value for value in values))


async def know(database: aiosqlite.Connection, secret: bytes) -> None:
    """Define SQLite's functions ``text``, and ``seal`` and ``row_seal`` with this secret from now on."""
    await database.create_function("text", 1, text, deterministic=True)
    for name, function in ("seal", seal), ("row_seal", _row_seal):
        await database.create_function(name, -1, functools.partial(function, secret), deterministic=True)


async def disbelieve(database: aiosqlite.Connection) -> int:
    """Make rows that are not as they were written say nothing that ends a session, and seal each write from now on.

    They keep their owners. Returns how many they are.
    """
    for trigger in _TRIGGERS:
        await database.execute(trigger)
    found = [await database.execute(statement) for statement in _DISBELIEVED]
    return sum(cursor.rowcount for cursor in found)
