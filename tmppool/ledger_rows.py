"""Rows of the ledger, and whether one that a file holds is as a service wrote it.

A row can end a session at a start: it says that its end was decided, or that its time is up. What damage or a hand has
changed is not believed in that: the session goes on with its owner and a whole lifetime. If the row says that it has
ended, it counts as lost since now: nobody looks for it, but it goes on if it turns out to run.

A seal is a digest, keyed with the ledger's secret, of all that a row says. It protects against accidents, not against
somebody who reads the secret. Everything here is pure.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from tmppool.notebook import Reason, State

_BYTES = 12  # of a digest
_UNREADABLE = "\ufffd"  # what stands for bytes that are no UTF-8

COLUMNS = (
    "key", "pool", "state", "visitor", "warm_at", "assigned_at", "expires_at", "ended_at", "reason", "shared",
    "network", "opened_at",
)  # fmt: skip
"""All columns of a row but its seal, in the file's order."""

_TIMES = {"warm_at", "assigned_at", "expires_at", "ended_at", "opened_at"}

E = TypeVar("E", State, Reason)


@dataclass(frozen=True, slots=True)
class Row:
    """One notebook's row in the ledger. Times are seconds since the epoch by the ledger's own clock, ``Ledger.now``.

    No code reads ``warm_at``: it shows a person who opens the file how long a notebook was warm before its assignment.
    """

    key: str
    pool: str
    state: State
    visitor: str | None = None
    expires_at: float | None = None
    ended_at: float | None = None
    reason: Reason | None = None
    shared: str | None = None
    network: str | None = None
    assigned_at: float | None = None
    opened_at: float | None = None
    warm_at: float | None = None


def seal(secret: bytes, *values: object) -> str:
    """Return the seal of these values, which SQLite can store."""
    return hashlib.blake2b(repr(values).encode(), key=secret, digest_size=_BYTES).hexdigest()


def stored(row: Row, secret: bytes) -> tuple[object, ...]:
    """Return the values of ``COLUMNS`` and the seal, as the file holds them."""
    values = tuple(_plain(getattr(row, name)) for name in COLUMNS)
    return *values, seal(secret, *values)


def text(found: bytes) -> str:
    """Return a stored text; one that was damaged is none that was written."""
    return found.decode(errors="replace")


def judged(found: Mapping[str, object], secret: bytes | None, now: float) -> tuple[Row | None, bool]:
    """Return the row that a file holds, as far as it is believed, and True if that is all of it.

    None if nothing is left of it: one that was never assigned needs no row, since its backend tells that, and a key
    that is not as it was written is no notebook's. ``found`` has what SQLite returns, of any type, by column; and
    ``secret`` is None for a file of a version that had no seals. ``now`` is the ledger's time.
    """
    values = {name: _time(found.get(name)) if name in _TIMES else _text(found.get(name)) for name in COLUMNS}
    key, state = values["key"], _member(State, values["state"])
    is_whole = state is not None and isinstance(values["pool"], str)
    if secret is not None:
        is_whole = is_whole and _text(found.get("seal")) == seal(secret, *values.values())
    if not isinstance(key, str) or _UNREADABLE in key:
        return None, False
    known = values | {"key": key, "pool": values["pool"] or "", "state": state or State.ASSIGNED}
    row = Row(**known | {"reason": _member(Reason, values["reason"])})  # type: ignore[arg-type] # as just judged
    return (row, True) if is_whole else (_disbelieved(row, now), False)


def timeless(row: Row) -> Row:
    """Return a row of a clock that is not believed: when its session ends is unknown."""
    return row if row.ended_at is not None else replace(row, assigned_at=None, expires_at=None)


def _disbelieved(row: Row, now: float) -> Row | None:
    """Return what such a row may say: nothing that ends a session but that it was lost, and whose it is."""
    if row.assigned_at is None and row.visitor is None:
        return None
    if row.ended_at is not None:
        return replace(row, state=State.GONE, expires_at=None, ended_at=now, reason=Reason.LOST)
    return replace(row, state=State.ASSIGNED, assigned_at=None, expires_at=None, reason=None)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, str) else value


def _text(found: object) -> str | None:
    """Return a text, also one that damage has made a blob; None for what is none."""
    if isinstance(found, bytes):
        return text(found)
    return found if isinstance(found, str) else None


def _time(found: object) -> float | None:
    return float(found) if isinstance(found, float | int) else None


def _member(kind: type[E], found: object) -> E | None:
    """Return the member of that value; None if there is none, as for a reason of a later version."""
    return kind(found) if isinstance(found, str) and found in set(kind) else None
