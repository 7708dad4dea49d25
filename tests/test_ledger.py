"""Session facts in SQLite, and what is done with a file that can't be trusted."""

import asyncio
import contextlib
import os
import re
import resource
import shutil
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.conftest import Hours
from tests.notebooks import notebook_of
from tests.test_changes import COLUMNS
from tmppool import ledger as ledger_module
from tmppool import ledger_file, ledger_rows, state_dir
from tmppool.errors import ConfigError
from tmppool.ledger import Ledger
from tmppool.ledger_file import left_behind
from tmppool.ledger_rows import Row
from tmppool.notebook import Notebook, Reason, State

KEY = "k" * 22
VERSION = max(COLUMNS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite"


@asynccontextmanager
async def opened(path: Path, holding: state_dir.Held | None = None) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(path, holding)
    try:
        yield ledger
    finally:
        async with asyncio.timeout(60):
            await ledger.close()


def notebook(key: str = KEY, *, visitor: str | None = "visitor", expires_at: float | None = 500.0) -> Notebook:
    made = notebook_of(key, "main", 0.0)
    made.visitor, made.expires_at = visitor, expires_at
    return made


def live(ledger: Ledger, made: Notebook, *moves: tuple[State, Reason]) -> None:
    for to, reason in moves:
        ledger.hear(made.move(to, reason, 100.0))


WARM = (State.WARM, Reason.READY)
ASSIGNED = (State.ASSIGNED, Reason.CLICK)
REAPING = (State.REAPING, Reason.IDLE)
GONE = (State.GONE, Reason.IDLE)


def raw(path: Path, query: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(path)
    try:
        found = database.execute(query).fetchall()
        database.commit()
        return found
    finally:
        database.close()


def resealed(path: Path, statement: str, *values: object) -> None:
    """Change rows as a service would: with the seals that belong to them."""
    columns = ", ".join(ledger_rows.COLUMNS)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(statement, values)
        (secret,) = database.execute("SELECT value FROM meta WHERE name = 'secret'").fetchone()
        for facts in database.execute(f"SELECT {columns} FROM sessions").fetchall():
            database.execute("UPDATE sessions SET seal = ? WHERE key = ?", (ledger_rows.seal(secret, *facts), facts[0]))


def set_aside(path: Path, why: str) -> list[Path]:
    """The copies of the ledger that were put out of the way."""
    return [part for part in path.parent.iterdir() if re.fullmatch(rf"ledger\.sqlite\.{why}-\w+", part.name)]


# What is written down


async def test_a_session_is_there_after_a_restart(path: Path) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        before = time.time()

    async with opened(path) as ledger:
        (row,) = ledger.rows().values()

    assert (row.key, row.pool, row.state, row.visitor) == (KEY, "main", State.ASSIGNED, "visitor")
    assert row.expires_at == pytest.approx(before + 400.0, abs=30)
    assert (row.ended_at, row.reason) == (None, None)


@pytest.mark.parametrize(
    ("moves", "state", "reason"),
    [
        pytest.param([], None, None, id="starting: no row, for nobody can have it"),
        pytest.param([WARM], State.WARM, None, id="warm"),
        pytest.param([WARM, REAPING], State.WARM, None, id="reaped while warm"),
        pytest.param([WARM, REAPING, GONE], None, None, id="never given away and gone: forgotten"),
        pytest.param([GONE], None, None, id="failed start"),
        pytest.param([WARM, ASSIGNED], State.ASSIGNED, None, id="assigned"),
        pytest.param([WARM, ASSIGNED, REAPING], State.REAPING, Reason.IDLE, id="reaped: known from the first moment"),
        pytest.param([WARM, ASSIGNED, REAPING, GONE], State.GONE, Reason.IDLE, id="gone"),
        pytest.param([WARM, ASSIGNED, GONE], None, None, id="left to another service: forgotten"),
        pytest.param([ASSIGNED], State.ASSIGNED, None, id="adopted session that had no row"),
    ],
)
async def test_what_the_row_says_after_each_move(
    path: Path, moves: list[tuple[State, Reason]], state: State | None, reason: Reason | None
) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), *moves)
        await ledger.flush()
        rows = ledger.rows()
    assert [(row.state, row.reason) for row in rows.values()] == ([] if state is None else [(state, reason)])
    assert all((row.ended_at is None) == (row.reason is None) for row in rows.values())


async def test_an_adopted_session_keeps_the_time_at_which_it_was_given_away(path: Path) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
    resealed(path, "UPDATE sessions SET assigned_at = 5.0")
    async with opened(path) as ledger:
        live(ledger, notebook(), (State.ASSIGNED, Reason.ADOPTED))
        await ledger.flush()
        assert raw(path, "SELECT assigned_at, state FROM sessions") == [(5.0, "assigned")]


async def test_a_session_without_visitor_and_without_end_is_written_so(path: Path) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(visitor=None, expires_at=None), WARM, ASSIGNED)
        await ledger.flush()
        (row,) = ledger.rows().values()
        assert row.assigned_at == pytest.approx(time.time(), abs=30)
        assert row == Row(KEY, "main", State.ASSIGNED, assigned_at=row.assigned_at, warm_at=row.warm_at)


async def test_flush_returns_when_everything_heard_is_in_the_file(path: Path) -> None:
    async with opened(path) as ledger:
        for number in range(500):
            live(ledger, notebook(f"key-{number}"), WARM, ASSIGNED)
        await ledger.flush()
        assert raw(path, "SELECT count(*) FROM sessions WHERE state = 'assigned'") == [(500,)]


async def test_flush_with_nothing_to_write_returns(path: Path) -> None:
    async with opened(path) as ledger:
        await ledger.flush()


async def test_close_writes_what_was_heard_last(path: Path) -> None:
    ledger = await Ledger.open(path)
    live(ledger, notebook(), WARM, ASSIGNED)
    await ledger.close()
    assert raw(path, "SELECT key, state FROM sessions") == [(KEY, "assigned")]


async def test_what_was_flushed_survives_a_kill(path: Path, tmp_path: Path) -> None:
    """The files as another process would find them if this one were killed now."""
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.flush()
        copy = tmp_path / "copy" / path.name
        copy.parent.mkdir()
        for part in path.parent.iterdir():
            (copy.parent / part.name).write_bytes(part.read_bytes())
    async with opened(copy) as found:
        assert found.rows()[KEY].state is State.ASSIGNED
        assert found.is_trusted


async def test_a_notebook_that_vanished_is_ended_in_its_row(path: Path) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.end_row(KEY, Reason.DIED)
        row = ledger.rows()[KEY]
    assert (row.state, row.reason) == (State.GONE, Reason.DIED)
    assert row.ended_at is not None


async def test_a_reason_of_a_later_version_is_read_as_none(path: Path) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED, REAPING)
    resealed(path, "UPDATE sessions SET reason = 'boredom'")
    with capture_logs() as logs:
        async with opened(path) as ledger:
            assert ledger.rows()[KEY].reason is None
    assert logs == []


async def test_ended_sessions_are_forgotten_after_a_week_and_live_ones_never(path: Path) -> None:
    week = timedelta(days=7)
    now = datetime.now(UTC)
    async with opened(path) as ledger:
        for key in ("old", "young"):
            live(ledger, notebook(key), WARM, ASSIGNED, REAPING, GONE)
        live(ledger, notebook("live"), WARM, ASSIGNED)
    for key, off in (("old", -60), ("young", 60)):
        resealed(path, "UPDATE sessions SET ended_at = ? WHERE key = ?", (now - week).timestamp() + off, key)
    resealed(path, "UPDATE sessions SET warm_at = 1, assigned_at = 1 WHERE key = 'live'")
    async with opened(path) as ledger:
        assert sorted(ledger.rows()) == ["live", "young"]
    assert len(raw(path, "SELECT key FROM sessions")) == 2


# The file


async def test_a_ledger_that_is_open_for_years_forgets_too(
    path: Path, hours: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "_MOST_ENDED", 3)
    async with opened(path) as ledger:
        live(ledger, notebook("stopping"), WARM, ASSIGNED, REAPING)
        for number in range(6):
            hours.go_by(1)
            live(ledger, notebook(f"gone-{number}"), WARM, ASSIGNED, REAPING, GONE)
        live(ledger, notebook("live"), WARM, ASSIGNED)
        ledger.prune()
        assert set(ledger.rows()) == {"gone-3", "gone-4", "gone-5", "stopping", "live"}
        hours.go_by(7 * 24 - 0.5)
        ledger.prune()
        await ledger.flush()
        assert set(ledger.rows()) == {"gone-5", "live"}
        assert sorted(raw(path, "SELECT key FROM sessions")) == [("gone-5",), ("live",)]


async def test_the_file_of_a_busy_service_stays_small(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_MOST_ENDED", 1000)
    sizes = []
    async with opened(path) as ledger:
        for turn in range(8):
            for number in range(1000):
                live(ledger, notebook(f"{turn}-{number}-{'k' * 16}"), WARM, ASSIGNED, REAPING, GONE)
            ledger.prune()
            await ledger.flush()
            sizes.append(path.stat().st_size)
        assert len(ledger.rows()) == 1000
    assert path.stat().st_size < 3 * sizes[0] + (1 << 20)


async def test_the_secret_stays_and_differs_between_services(path: Path, tmp_path: Path) -> None:
    async with opened(path) as ledger:
        secret = ledger.secret
    async with opened(path) as ledger:
        assert ledger.secret == secret
    async with opened(tmp_path / "other.sqlite") as ledger:
        assert ledger.secret != secret
    assert len(secret) == 32


async def test_the_files_are_for_their_owner_alone(path: Path) -> None:
    mask = os.umask(0)
    try:
        async with opened(path) as ledger:
            live(ledger, notebook(), WARM)
            await ledger.flush()
            modes = {part.name: part.stat().st_mode & 0o777 for part in path.parent.iterdir()}
            assert modes == {path.name: 0o600}
            assert path.parent.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(mask)


async def test_only_a_file_that_was_there_is_trusted(path: Path) -> None:
    async with opened(path) as ledger:
        assert not ledger.is_trusted
        assert ledger.is_durable
    async with opened(path) as ledger:
        assert ledger.is_trusted


async def test_an_empty_file_is_not_trusted(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    async with opened(path) as ledger:
        assert not ledger.is_trusted
        assert ledger.is_durable


async def test_whose_it_is_and_whether_it_is_shared_is_written_down(path: Path) -> None:
    made = notebook(visitor=None)
    async with opened(path) as ledger:
        live(ledger, made, WARM, ASSIGNED)
        made.visitor, made.shared = "first", "1"
        await ledger.note_people(made)
        assert ledger.rows()[KEY].shared == "1"
    async with opened(path) as ledger:
        adopted = notebook(visitor="first")
        live(ledger, adopted, (State.ASSIGNED, Reason.ADOPTED))
        await ledger.flush()
        row = ledger.rows()[KEY]
        assert (row.visitor, row.shared) == ("first", "1")
        adopted.shared = None
        await ledger.note_people(adopted)
        assert ledger.rows()[KEY].shared is None


async def columns_that_are_written(ledger: Ledger, path: Path) -> set[str]:
    await ledger.flush()
    (values,) = raw(path, f"SELECT {', '.join(COLUMNS[VERSION])} FROM sessions")
    return {name for name, value in zip(COLUMNS[VERSION], values, strict=True) if value is not None}


async def test_each_column_is_written_in_the_course_of_a_session(path: Path) -> None:
    made = notebook()
    for name in COLUMNS[VERSION]:
        if getattr(made, name, "") is None:  # whatever a notebook may be, this one is
            setattr(made, name, f"its {name}")
    async with opened(path) as ledger:
        live(ledger, made, WARM, ASSIGNED)
        await ledger.note_people(made)
        ledger.note_opened(made)
        written = await columns_that_are_written(ledger, path)
        live(ledger, made, REAPING)
        written |= await columns_that_are_written(ledger, path)  # the end takes the network back
    assert written == set(COLUMNS[VERSION])


@pytest.mark.parametrize("version", sorted(COLUMNS)[:-1])
async def test_a_file_of_each_older_version_is_taken_over(path: Path, version: int) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
    for name in set(COLUMNS[VERSION]) - set(COLUMNS[version]):
        raw(path, f"ALTER TABLE sessions DROP COLUMN {name}")
    raw(path, f"PRAGMA user_version = {version}")
    for _ in range(2):
        async with opened(path) as ledger:
            row = ledger.rows()[KEY]
            assert (row.visitor, row.shared, ledger.is_trusted, ledger.is_durable) == ("visitor", None, True, True)
            # A version before 3 noted no opening.
            assert (row.network, row.opened_at is None, row.expires_at is None) == (None, version >= 3, False)
    assert raw(path, "PRAGMA user_version") == [(VERSION,)]


async def test_a_file_is_written_anew_at_each_start_so_that_no_damage_of_an_index_stays(path: Path) -> None:
    """Version 4 had one at first, by which a damaged row was not found."""
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        rows = ledger.rows()
    raw(path, "CREATE INDEX sessions_by_state ON sessions (state)")
    async with opened(path) as ledger:
        assert (ledger.rows(), ledger.is_trusted) == (rows, True)
    assert raw(path, "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL") == []


async def test_a_network_is_kept_no_longer_than_its_notebook(path: Path) -> None:
    made = notebook()
    made.network = "its network"
    async with opened(path) as ledger:
        live(ledger, made, WARM, ASSIGNED)
        assert await _network(ledger) == "its network"
        live(ledger, made, REAPING)
        assert await _network(ledger) is None  # a service that is killed now would find the row so
        live(ledger, made, GONE)
        assert await _network(ledger) is None
        live(ledger, made := notebook(), ASSIGNED)
        made.network = "its network"
        await ledger.note_people(made)
        await ledger.end_row(KEY, Reason.DIED)
        assert await _network(ledger) is None


@pytest.mark.parametrize("reason", [Reason.LOST, Reason.REMOVED])
async def test_a_network_is_kept_for_an_hour_where_nobody_saw_the_end(path: Path, reason: Reason, hours: Hours) -> None:
    made = notebook()
    made.network = "its network"
    async with opened(path) as ledger:
        live(ledger, made, WARM, ASSIGNED)
        await ledger.end_row(KEY, reason)
        ledger.prune()
        assert await _network(ledger) == "its network"
        hours.go_by(1.1)
        ledger.prune()
        assert await _network(ledger) is None
        assert raw(path, "SELECT network FROM sessions") == [(None,)]


async def _network(ledger: Ledger) -> str | None:
    await ledger.flush()
    return ledger.rows()[KEY].network


# What is not as it was written


def clock_shifted(path: Path, seconds: float) -> None:
    """Shift the clock that the file says its times are by."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        (kept,) = database.execute("SELECT value FROM meta WHERE name = 'clock'").fetchone()
        boot, offset = kept.decode().split()
        shifted = f"{boot} {float(offset) + seconds!r}".encode()
        database.execute("UPDATE meta SET value = ? WHERE name = 'clock'", (shifted,))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("UPDATE sessions SET expires_at = 1", id="its time is long over"),
        pytest.param("UPDATE sessions SET expires_at = expires_at - 3600", id="its time is just over"),
        pytest.param("UPDATE sessions SET state = 'reaping'", id="being stopped"),
        pytest.param("UPDATE sessions SET state = 'open'", id="in no state that there is"),
        pytest.param("UPDATE sessions SET seal = NULL", id="without a seal"),
    ],
)
async def test_what_a_row_says_is_not_believed_unless_it_is_as_it_was_written(path: Path, change: str) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        live(ledger, notebook("warm"), WARM)
    raw(path, f"{change} WHERE key IN ('{KEY}', 'warm')")
    with capture_logs() as logs:
        async with opened(path) as ledger:
            rows = ledger.rows()
    assert [line["event"] for line in logs] == ["ledger.disbelieved"]
    row = rows[KEY]
    assert (row.state, row.visitor, row.assigned_at) == (State.ASSIGNED, "visitor", None)
    assert (row.expires_at, row.ended_at, row.reason) == (None, None, None)
    assert "warm" not in rows or rows["warm"].expires_at is None
    with capture_logs() as logs:
        async with opened(path) as ledger:
            assert ledger.rows() == rows
    assert logs == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sessions SET seal = NULL",
        "UPDATE sessions SET ended_at = 1e300 WHERE ended_at IS NOT NULL",
        "UPDATE sessions SET ended_at = 1, state = 'assigned' WHERE ended_at IS NOT NULL",
        "UPDATE meta SET value = randomblob(32) WHERE name = 'secret'",
    ],
)
async def test_a_session_that_has_ended_is_lost_and_not_live_again_where_its_seal_is_wrong(
    path: Path, change: str
) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook("live"), WARM, ASSIGNED)
        live(ledger, notebook("ended"), WARM, ASSIGNED, REAPING, GONE)
    raw(path, change)
    async with opened(path) as ledger:
        rows = ledger.rows()
    assert {key: (row.state, row.reason, row.visitor) for key, row in rows.items()} == {
        "live": (State.ASSIGNED, None, "visitor"),
        "ended": (State.GONE, Reason.LOST, "visitor"),
    }
    assert rows["ended"].ended_at == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize(
    ("column", "left"),
    [("key", {"well"}), ("visitor", {KEY, "well"}), ("state", {KEY, "well"}), ("pool", {KEY, "well"})],
)
async def test_a_text_that_is_none_costs_no_other_session_its_owner(path: Path, column: str, left: set[str]) -> None:
    """As after a flipped bit: SQLite neither reads it as text nor passes it to a function."""
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        live(ledger, notebook("well"), WARM, ASSIGNED)
        await ledger.flush()
        well = ledger.rows()["well"]
    raw(path, f"UPDATE sessions SET {column} = CAST(x'6bff6b' AS TEXT) WHERE key = '{KEY}'")
    with capture_logs() as logs:
        async with opened(path) as ledger:
            rows = ledger.rows()
            assert ledger.is_durable
    assert [line["event"] for line in logs] == ["ledger.disbelieved"]
    assert (set(rows), rows["well"]) == (left, well)
    async with opened(path) as ledger:
        assert ledger.rows() == rows


FIRST, LAST = "f" * 22, "l" * 22


async def three_sessions(ledger: Ledger) -> dict[str, Row]:
    """Write three whole rows, of which the second lies between the others in the file."""
    for key in (FIRST, KEY, LAST):
        made = notebook(key, visitor=f"visitor of {key}")
        made.network, made.shared, made.is_opened = f"its network {key}", "its sharing", True
        live(ledger, made, WARM, ASSIGNED)
        await ledger.note_people(made)
    return ledger.rows()


def bits_of_a_row(path: Path) -> range:
    """Return the numbers of the bits that make up the second session's row, all that SQLite keeps with it included."""
    data = path.read_bytes()
    seals = [str(seal).encode() for (seal,) in raw(path, "SELECT seal FROM sessions ORDER BY rowid DESC")]
    begin, end = (data.index(seal) + len(seal) for seal in seals[:2])  # SQLite fills a page from its end
    return range(8 * begin, 8 * end)


def flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


@pytest.mark.corpus
async def test_a_flipped_bit_costs_no_other_session_its_owner(path: Path) -> None:
    async with opened(path) as ledger:
        rows = await three_sessions(ledger)
    well = path.read_bytes()
    bits = bits_of_a_row(path)
    assert len(bits) > 1200
    said = set()
    for bit in bits:
        path.write_bytes(well)
        flip(path, bit)
        with capture_logs() as logs:
            async with opened(path) as ledger:
                found = ledger.rows()
                assert (ledger.is_durable, ledger.is_trusted) == (True, True), bit
        said |= {line["event"] for line in logs}
        assert (found.get(FIRST), found.get(LAST)) == (rows[FIRST], rows[LAST]), bit
        for row in found.values():
            assert row == rows.get(row.key) or (row.expires_at, row.reason) in [(None, None), (None, Reason.LOST)], bit
        assert [part.name for part in path.parent.iterdir()] == [path.name], bit
    assert said == {"ledger.disbelieved"}


@pytest.mark.corpus
async def test_a_flipped_bit_in_the_file_of_a_running_service_costs_no_fact(path: Path) -> None:
    async with opened(path) as ledger:
        rows = await three_sessions(ledger)
        for bit in bits_of_a_row(path):
            flip(path, bit)
            with capture_logs() as logs:
                await ledger.keep()
                await ledger.keep()
                await ledger.flush()
            assert [line["event"] for line in logs] == ["ledger.lost", "ledger.rewritten"], bit
            assert (ledger.is_durable, ledger.rows()) == (True, rows), bit
    async with opened(path) as ledger:
        assert ledger.rows() == rows
        assert ledger.is_trusted


async def test_each_way_to_write_a_row_is_believed(path: Path) -> None:
    made = notebook()
    with capture_logs() as logs:
        async with opened(path) as ledger:
            live(ledger, made, WARM, ASSIGNED)
            await ledger.note_people(made)
            ledger.note_opened(made)
            ledger.postpone(3600.0)
            live(ledger, notebook("ended"), WARM, ASSIGNED, REAPING, GONE)
            live(ledger, notebook("lost"), WARM, ASSIGNED)
            await ledger.end_row("lost", Reason.LOST)
            live(ledger, notebook("warm"), WARM)
            ledger.prune()
            await ledger.flush()
            rows = ledger.rows()
        for _ in range(2):
            async with opened(path) as ledger:
                assert ledger.rows() == rows
    assert logs == []


@pytest.mark.parametrize("seconds", [86400.0, -86400.0])
async def test_a_clock_that_is_not_as_it_was_written_ends_no_session(path: Path, seconds: float) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
    clock_shifted(path, seconds)
    with capture_logs() as logs:
        async with opened(path) as ledger:
            row = ledger.rows()[KEY]
            assert (row.state, row.visitor, row.expires_at) == (State.ASSIGNED, "visitor", None)
            assert ledger.now() == pytest.approx(time.time(), abs=30)
    assert [(line["event"], line["what"]) for line in logs] == [("ledger.disbelieved", "its clock")]


async def test_the_seals_of_a_file_that_is_written_anew_are_its_own(path: Path) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.flush()
        path.unlink()
        with capture_logs():
            await ledger.keep()
            await ledger.keep()
        live(ledger, notebook("later"), WARM, ASSIGNED)
        await ledger.flush()
        rows = ledger.rows()
    with capture_logs() as logs:
        async with opened(path) as ledger:
            assert ledger.rows() == rows
    assert logs == []


# Files that can't be used


async def goes_on_in_memory(path: Path) -> None:
    """The service starts, works, and says what is wrong in one line."""
    with capture_logs() as logs:
        async with opened(path) as ledger:
            live(ledger, notebook(), WARM, ASSIGNED)
            await ledger.flush()
            assert ledger.rows()[KEY].state is State.ASSIGNED
            assert (ledger.is_trusted, ledger.is_durable, len(ledger.secret)) == (False, False, 32)
    assert [(line["event"], line["log_level"]) for line in logs] == [("ledger.open_failed", "error")]


async def test_a_newer_version_is_left_untouched(path: Path) -> None:
    async with opened(path):
        pass
    raw(path, "CREATE TABLE future (x)")
    raw(path, "PRAGMA user_version = 99")
    before = path.read_bytes()

    await goes_on_in_memory(path)

    assert path.read_bytes() == before
    assert set_aside(path, "corrupt") == []


@pytest.mark.parametrize(
    "ruin",
    [
        pytest.param(lambda _data: b"this is no database, but long enough to look at" * 100, id="another kind of file"),
        pytest.param(lambda data: data[:100] + os.urandom(len(data) - 100), id="noise behind the head"),
        pytest.param(lambda data: os.urandom(len(data)), id="noise"),
        pytest.param(lambda data: data[:100], id="cut off"),
        pytest.param(lambda data: data[: len(data) // 2], id="half of it"),
    ],
)
async def test_a_corrupt_file_is_set_aside_and_a_new_one_begun(path: Path, ruin: Callable[[bytes], bytes]) -> None:
    async with opened(path) as ledger:
        for number in range(500):
            live(ledger, notebook(f"key-{number}"), WARM, ASSIGNED)
    ruined = ruin(path.read_bytes())
    path.write_bytes(ruined)

    with capture_logs() as logs:
        async with opened(path) as ledger:
            assert (ledger.is_trusted, ledger.is_durable, ledger.rows()) == (False, True, {})
            live(ledger, notebook(), WARM, ASSIGNED)

    assert [line["event"] for line in logs] == ["ledger.set_aside"]
    assert [part.read_bytes() for part in set_aside(path, "corrupt")] == [ruined]
    async with opened(path) as ledger:
        assert list(ledger.rows()) == [KEY]


async def test_a_directory_that_cannot_be_made_is_gone_on_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    await goes_on_in_memory(tmp_path / "file" / "state" / "ledger.sqlite")


async def test_a_directory_in_the_place_of_the_file_is_gone_on_without(path: Path) -> None:
    path.mkdir(parents=True)
    await goes_on_in_memory(path)
    assert path.is_dir()


async def test_a_link_in_the_place_of_the_file_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    await goes_on_in_memory(path)
    assert not (tmp_path / "elsewhere").exists()


async def test_a_database_that_another_process_holds_is_gone_on_without(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmppool.ledger_file.BUSY", 0.01)
    async with opened(path):
        pass
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        await goes_on_in_memory(path)
    finally:
        holder.close()
    assert set_aside(path, "corrupt") == []


# A run without the file


def versions(path: Path, number: int) -> None:
    raw(path, f"PRAGMA user_version = {number}")


async def test_a_file_that_was_passed_over_is_not_trusted_at_the_next_start_and_what_it_says_of_sharing_not_at_all(
    path: Path,
) -> None:
    async with opened(path) as ledger:
        made = notebook()
        live(ledger, made, WARM, ASSIGNED)
        made.shared = "1"
        await ledger.note_people(made)
    versions(path, 99)
    await goes_on_in_memory(path)
    versions(path, VERSION)

    with capture_logs() as logs:
        async with opened(path) as ledger:
            row = ledger.rows()[KEY]
            assert (ledger.is_trusted, ledger.is_durable) == (False, True)
            assert (row.state, row.visitor, row.shared) == (State.ASSIGNED, "visitor", None)
    assert [line["event"] for line in logs] == ["ledger.resumed"]
    async with opened(path) as ledger:  # from now on it misses nothing
        assert ledger.is_trusted
        assert ledger.rows()[KEY].shared is None


async def test_where_that_cannot_be_noted_the_file_is_moved_out_of_the_way(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path):
        pass
    versions(path, 99)
    path.with_name("ledger.sqlite.missed").symlink_to(path.parent / "nowhere" / "at all")
    await goes_on_in_memory(path)
    assert not path.exists()
    assert len(set_aside(path, "missed")) == 1


async def test_a_session_that_was_called_dead_and_is_taken_back_has_not_ended(path: Path) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.end_row(KEY, Reason.DIED)
        live(ledger, notebook(), (State.ASSIGNED, Reason.ADOPTED))
        await ledger.flush()
        row = ledger.rows()[KEY]
        assert (row.state, row.ended_at, row.reason) == (State.ASSIGNED, None, None)


# A file that is lost, and comes back


async def loses_its_file(path: Path, ledger: Ledger, why: str) -> None:
    """The next write fails; all facts, those that were written before and those that come after, are in memory."""
    secret = ledger.secret
    with capture_logs() as logs:
        live(ledger, notebook("lost"), WARM)
        async with asyncio.timeout(60):
            await ledger.flush()
        live(ledger, notebook("later"), WARM, ASSIGNED)
        async with asyncio.timeout(60):
            await ledger.flush()
    assert [(line["event"], line["log_level"]) for line in logs] == [("ledger.lost", "error")]
    assert why in logs[0]["why"]
    assert {"lost", "later"} <= set(ledger.rows())
    assert not ledger.is_durable
    assert ledger.secret == secret


def spoiled(path: Path, statement: str) -> None:
    """Make the file unfit for the next write so that it looks untouched: else that is noticed before the write."""
    before = path.stat()
    raw(path, statement)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


@contextlib.contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def comes_back(path: Path, ledger: Ledger) -> None:
    """The file has all facts again, and the next service trusts it."""
    with capture_logs() as logs:
        async with asyncio.timeout(60):
            await ledger.keep()
            await ledger.flush()
    assert [line["event"] for line in logs] == ["ledger.rewritten"]
    assert ledger.is_durable
    known, secret = ledger.rows(), ledger.secret
    live(ledger, notebook("after"), WARM, ASSIGNED)
    await ledger.flush()
    await ledger.close()
    async with opened(path) as again:
        assert again.is_trusted
        assert again.secret == secret
        found = again.rows()
        assert found.pop("after").state is State.ASSIGNED
        assert found == known


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param("DROP TABLE sessions", id="the table is gone"),
        pytest.param(
            "CREATE TRIGGER full BEFORE INSERT ON sessions BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END",
            id="the insert fails",
        ),
        pytest.param(
            "CREATE TRIGGER full BEFORE INSERT ON sessions BEGIN SELECT RAISE(ROLLBACK, 'disk is full'); END",
            id="the insert fails and ends the transaction",
        ),
    ],
)
async def test_a_file_that_takes_no_more_writes_is_not_trusted_later_unless_it_is_written_whole(
    path: Path, damage: str
) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.flush()
        spoiled(path, damage)
        await loses_its_file(path, ledger, "full" if "full" in damage else "no such table")
        assert KEY in ledger.rows()
        in_the_way = path.with_name(f"{path.name}.new")
        in_the_way.mkdir()
    in_the_way.rmdir()
    async with opened(path) as ledger:
        assert (ledger.is_trusted, ledger.is_durable) == (False, True)


async def test_a_disk_that_was_full_costs_nothing(path: Path) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.flush()
        with full_disk(1024):
            await loses_its_file(path, ledger, "disk I/O error")
            await ledger.keep()
            assert not ledger.is_durable
            assert ledger_file.missed_marker(path).exists()
        await comes_back(path, ledger)
    assert [part.name for part in path.parent.iterdir()] == [path.name]


async def test_a_file_that_is_locked_for_long_waits_where_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmppool.ledger_file.BUSY", 0.05)
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.flush()
        inode = path.stat().st_ino
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        await loses_its_file(path, ledger, "another process has locked it")
        await ledger.keep()
        assert not ledger.is_durable
        holder.close()
        await comes_back_of_itself(ledger)
        assert path.stat().st_ino == inode
        assert [part.name for part in path.parent.iterdir()] == [path.name]
        known = ledger.rows()
    async with opened(path) as ledger:
        assert ledger.is_trusted
        assert ledger.rows() == known


async def test_nobody_waits_while_what_a_lost_file_holds_is_looked_at(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmppool.ledger_file.BUSY", 0.05)
    async with opened(path):
        pass
    with capture_logs() as logs:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            ledger = await Ledger.open(path)
            monkeypatch.setattr("tmppool.ledger_file.BUSY", 20.0)
            keeping = asyncio.ensure_future(ledger.keep())
            await asyncio.sleep(0.2)  # so that it waits for the lock
            began = time.monotonic()
            live(ledger, notebook("meanwhile"), WARM, ASSIGNED)
            await ledger.flush()
            assert time.monotonic() - began < 1.0
            assert not keeping.done()
            assert not ledger.is_durable
        await keeping
        await ledger.flush()
    assert [line["event"] for line in logs] == ["ledger.open_failed", "ledger.rewritten"]
    assert raw(path, "SELECT state FROM sessions WHERE key = 'meanwhile'") == [("assigned",)]
    await ledger.close()


async def comes_back_of_itself(ledger: Ledger) -> None:
    """As in a running service, which keeps the ledger every few seconds."""
    with capture_logs() as logs:
        async with asyncio.timeout(20):
            while not ledger.is_durable:
                await asyncio.sleep(0.01)
                await ledger.keep()
            await ledger.flush()
    assert [line["event"] for line in logs] == ["ledger.rewritten"]


async def test_a_backup_in_steps_does_not_disturb_the_service(path: Path, tmp_path: Path) -> None:
    """As the program ``sqlite3`` makes it: the file is locked for each step only."""

    def copy() -> None:
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(tmp_path / "copy.sqlite")) as target,
        ):
            source.backup(target, pages=5, sleep=0.001)

    with capture_logs() as logs:
        async with opened(path) as ledger:
            for number in range(500):
                live(ledger, notebook(f"key-{number}"), WARM, ASSIGNED)
            await ledger.flush()
            copying = asyncio.ensure_future(asyncio.to_thread(copy))
            for number in range(20):
                live(ledger, notebook(f"later-{number}"), WARM, ASSIGNED)
                await ledger.flush()
            await copying
        async with opened(tmp_path / "copy.sqlite") as ledger:
            assert len(ledger.rows()) >= 500
            assert ledger.is_trusted
    assert logs == []


async def test_a_file_that_was_deleted_is_noticed_and_written_anew(path: Path) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.flush()
        path.unlink()
        with capture_logs() as logs:
            await ledger.keep()
        assert [(line["event"], line.get("why")) for line in logs] == [("ledger.lost", "it was deleted")]
        assert not ledger.is_durable
        live(ledger, notebook("later"), WARM, ASSIGNED)
        await comes_back(path, ledger)


def halved(path: Path, _other: bytes) -> None:
    os.truncate(path, path.stat().st_size // 2)


def noisy(path: Path, _other: bytes) -> None:
    """Write in the middle, past the pages that SQLite looks at for each write."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 1500)
        file.write(os.urandom(1000))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path, _other: os.truncate(path, 0), id="emptied"),
        pytest.param(halved, id="cut off"),
        pytest.param(noisy, id="damaged"),
        pytest.param(lambda path, other: path.write_bytes(other), id="overwritten by a backup"),
        pytest.param(lambda path, _other: raw(path, "DELETE FROM sessions"), id="changed by hand"),
    ],
)
async def test_a_file_whose_content_another_process_changed_is_written_anew(
    path: Path, change: Callable[[Path, bytes], None]
) -> None:
    async with opened(path) as ledger:
        for number in range(100):
            live(ledger, notebook(f"old-{number}"), WARM, ASSIGNED)
    other = path.read_bytes()
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.flush()
        change(path, other)
        with capture_logs() as logs:
            live(ledger, notebook("later"), WARM, ASSIGNED)
            await ledger.flush()  # a write must not make it look like ours
            await ledger.keep()
            if not ledger.is_durable:  # the first look put it aside
                await ledger.keep()
        said = [(line["event"], line.get("why")) for line in logs]
        assert said == [("ledger.lost", "another process has changed it"), ("ledger.rewritten", None)]
        known = ledger.rows()
        assert {KEY, "later", "old-99"} <= set(known)
    async with opened(path) as ledger:
        assert ledger.is_trusted
        assert ledger.rows() == known


async def test_a_link_in_its_place_is_removed_and_no_later_start_refuses_it(path: Path) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.flush()
        for target in ("/dev/full", path.parent / "nowhere"):
            path.unlink()
            path.symlink_to(target)
            with capture_logs() as logs:
                await ledger.keep()
                await ledger.keep()
                await ledger.flush()
            assert [(line["event"], line.get("why")) for line in logs] == [
                ("ledger.lost", "another file was put in its place"),
                ("ledger.rewritten", None),
            ]
            assert [part.name for part in path.parent.iterdir() if part.is_symlink()] == []
            await asyncio.to_thread(state_dir.prepare, path.parent)


async def test_nothing_of_it_is_mapped_into_memory(path: Path) -> None:
    """A mapped file that is truncated ends the process: a write-ahead log has one beside it."""
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.flush()
        assert path.name not in Path("/proc/self/maps").read_text()
        assert [part.name for part in path.parent.iterdir()] == [path.name]


async def test_a_write_ahead_log_of_an_older_version_is_taken_over(path: Path) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("INSERT INTO meta VALUES ('backend', CAST('in the log' AS BLOB))")
    copy = path.parent / "copy" / path.name  # as a kill leaves it
    copy.parent.mkdir()
    for part in path.parent.glob("ledger.sqlite-*"):
        shutil.copy2(part, copy.parent)
    shutil.copy2(path, copy.parent)
    database.close()
    async with opened(copy) as ledger:
        assert list(ledger.rows()) == [KEY]
        assert [part.name for part in copy.parent.iterdir()] == [path.name]
    assert await asyncio.to_thread(left_behind, copy) == ("in the log", 1)


async def test_a_directory_that_was_deleted_is_made_again(path: Path) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.flush()
        await asyncio.to_thread(shutil.rmtree, path.parent)
        with capture_logs():
            await ledger.keep()
        await comes_back(path, ledger)


async def test_another_file_in_its_place_is_renamed(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    async with opened(other) as ledger:
        live(ledger, notebook("other"), WARM, ASSIGNED)
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.flush()
        other.replace(path)
        with capture_logs() as logs:
            await ledger.keep()
        assert [line.get("why") for line in logs] == ["another file was put in its place"]
        await comes_back(path, ledger)
    (moved,) = set_aside(path, "replaced")
    assert raw(moved, "SELECT key FROM sessions") == [("other",)]


async def test_two_services_that_want_one_directory_leave_its_ledger_to_the_one_that_holds_the_lock(
    path: Path,
) -> None:
    state = path.parent
    async with state_dir.held(state, "name") as first, opened(path, first) as old:
        await asyncio.to_thread(state.rename, state.with_name("moved"))
        async with state_dir.held(state, "name") as second, opened(path, second) as new:
            with capture_logs() as logs:
                for _ in range(3):
                    for each in (old, new):
                        live(each, notebook(), WARM, ASSIGNED)
                        await each.keep()
                        await each.flush()
            assert [(line["event"], line["why"]) for line in logs] == [
                ("ledger.lost", "another file was put in its place")
            ]
            assert "does not hold its lock" in logs[0]["action"]
            assert (old.is_durable, new.is_durable) == (False, True)
            assert sorted(part.name for part in state.iterdir()) == [path.name, "lock"]
        await first.keep()
        await comes_back(path, old)


async def test_what_a_directory_has_missed_that_was_moved_away_and_back_is_written_to_it(path: Path) -> None:
    state = path.parent
    async with state_dir.held(state, "name") as holding, opened(path, holding) as ledger:
        with capture_logs():
            await asyncio.to_thread(state.rename, state.with_name("moved"))
            await holding.keep()
            for _ in range(2):
                await ledger.keep()
            assert ledger.is_durable
            live(ledger, notebook(), WARM, ASSIGNED)
            await ledger.flush()
            await asyncio.to_thread(shutil.rmtree, state)
            await asyncio.to_thread(state.with_name("moved").rename, state)
            await holding.keep()
            await ledger.keep()
            assert ledger_file.missed_marker(path).exists()
            await comes_back(path, ledger)


async def test_a_file_that_could_not_be_used_at_the_start_keeps_what_it_alone_knows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmppool.ledger_file.BUSY", 0.05)
    async with opened(path) as ledger:
        made = notebook()
        live(ledger, made, WARM, ASSIGNED)
        made.shared = "1"
        await ledger.note_people(made)
        live(ledger, notebook("ended"), WARM, ASSIGNED, REAPING, GONE)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with capture_logs() as logs:
        ledger = await Ledger.open(path)
        live(ledger, notebook(visitor=None), (State.ASSIGNED, Reason.ADOPTED))
        await ledger.keep()
        assert not ledger.is_durable
    assert [line["event"] for line in logs] == ["ledger.open_failed"]
    holder.close()
    await comes_back(path, ledger)
    async with opened(path) as ledger:
        rows = ledger.rows()
    assert (rows[KEY].visitor, rows[KEY].shared, rows[KEY].state) == ("visitor", None, State.ASSIGNED)
    assert rows["ended"].reason is Reason.IDLE


async def test_a_file_of_a_newer_version_is_never_written(path: Path) -> None:
    async with opened(path):
        pass
    versions(path, 99)
    before = path.read_bytes()
    with capture_logs():
        async with opened(path) as ledger:
            await ledger.keep()
            assert not ledger.is_durable
    assert path.read_bytes() == before


async def test_keeping_a_file_that_is_well_says_nothing(path: Path) -> None:
    async with opened(path) as ledger:
        with capture_logs() as logs:
            for _ in range(3):
                await ledger.keep()
                live(ledger, notebook(), WARM)
                await ledger.flush()
        assert logs == []
        assert ledger.is_durable


async def test_where_a_loss_cannot_even_be_noted_the_service_goes_on(path: Path) -> None:
    """A directory that takes no changes any more, as when its disk was remounted read-only."""
    async with opened(path) as ledger:
        path.with_name("ledger.sqlite.missed").symlink_to(path.parent / "nowhere" / "at all")
        now = datetime.now().astimezone()
        for seconds in range(120):
            stamp = (now + timedelta(seconds=seconds)).strftime("%Y%m%dT%H%M%S")
            path.with_name(f"{path.name}.missed-{stamp}").mkdir()  # a file cannot take a directory's name
        spoiled(path, "DROP TABLE sessions")
        await loses_its_file(path, ledger, "no such table")


class StandingDisk:
    """As one that is frozen for a snapshot: what is asked of it neither fails nor ends, until it goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.goes_on = threading.Event()
        self._monkeypatch = monkeypatch

    def begins_at(self, function: str) -> None:
        genuine = getattr(ledger_file, function)

        def stands(*about: object) -> object:
            assert self.goes_on.wait(60)
            return genuine(*about)

        self._monkeypatch.setattr(ledger_file, function, stands)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandingDisk]:
    monkeypatch.setattr(ledger_module, "_PATIENCE", 0.1)
    monkeypatch.setattr(ledger_module, "_PARTING", 0.1)
    made = StandingDisk(monkeypatch)
    yield made
    made.goes_on.set()


async def test_a_disk_that_stands_still_holds_up_nobody(path: Path, disk: StandingDisk) -> None:
    async with opened(path) as ledger:
        disk.begins_at("identity")
        async with asyncio.timeout(20):
            await loses_its_file(path, ledger, "its disk did not take it")
            await ledger.keep()
        assert not ledger.is_durable
        disk.goes_on.set()
        await comes_back_of_itself(ledger)
        assert not ledger_file.missed_marker(path).exists()
        assert {"lost", "later"} == {key for (key,) in raw(path, "SELECT key FROM sessions")}


def test_a_service_ends_once_a_disk_that_stands_still_answers(path: Path, disk: StandingDisk) -> None:
    """A file that is left open has a thread, for which the process would wait for good."""
    threads = threading.active_count()

    async def serve() -> None:
        ledger = await Ledger.open(path)
        disk.begins_at("identity")
        await loses_its_file(path, ledger, "its disk did not take it")
        with capture_logs() as logs:
            await ledger.close()
        assert [line["event"] for line in logs] == ["ledger.awaited"]
        threading.Timer(0.2, disk.goes_on.set).start()

    with asyncio.Runner() as runner:
        runner.run(serve())
    assert no_more_threads_than(threads)
    assert {"lost", "later"} == {key for (key,) in raw(path, "SELECT key FROM sessions")}
    assert not ledger_file.missed_marker(path).exists()


def no_more_threads_than(number: int) -> bool:
    for _ in range(200):
        if threading.active_count() <= number:
            return True
        time.sleep(0.05)
    return False


async def test_a_service_that_ends_while_its_disk_stands_still_holds_the_directory_until_the_file_is_marked(
    path: Path, disk: StandingDisk
) -> None:
    """Else the next one takes a file that misses something for one that has all, or both write to it."""
    async with state_dir.held(path.parent, "name") as holding:
        ledger = await Ledger.open(path, holding)
        live(ledger, notebook(), WARM, ASSIGNED)
        await ledger.flush()
        spoiled(path, "DROP TABLE sessions")
        path.with_name(f"{path.name}.new").mkdir()  # nor can it be written anew
        disk.begins_at("identity")
        with capture_logs():
            live(ledger, notebook("lost"), WARM)
            await ledger.flush()
            await ledger.close()
    with pytest.raises(ConfigError, match="already runs"):
        async with state_dir.held(path.parent, "name"):
            pass
    disk.goes_on.set()
    await given_back(path.parent)
    assert ledger_file.missed_marker(path).exists()


async def given_back(state: Path) -> None:
    """Return once nobody holds the state directory."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(ConfigError):
                async with state_dir.held(state, "name"):
                    return
            await asyncio.sleep(0.01)


async def test_a_start_that_is_ended_while_its_disk_stands_still_holds_the_directory_no_longer_than_that(
    path: Path, disk: StandingDisk
) -> None:
    disk.begins_at("prepare")
    async with state_dir.held(path.parent, "name") as holding:
        opening = asyncio.ensure_future(Ledger.open(path, holding))
        await asyncio.sleep(0.1)
        opening.cancel()
        await asyncio.wait({opening})
    with pytest.raises(ConfigError, match="already runs"):
        async with state_dir.held(path.parent, "name"):
            pass
    disk.goes_on.set()
    await given_back(path.parent)


async def test_a_disk_that_stands_still_as_its_file_is_lost_holds_up_nobody(path: Path, disk: StandingDisk) -> None:
    """As by a program that locks the ledger or replaces it, and then freezes the disk for a snapshot."""
    async with opened(path) as ledger:
        disk.begins_at("pass_over")
        path.unlink()
        async with asyncio.timeout(20):
            await loses_its_file(path, ledger, "it was deleted")
            await ledger.keep()
        assert not ledger.is_durable
        disk.goes_on.set()
        await comes_back_of_itself(ledger)
        assert {"lost", "later"} == {key for (key,) in raw(path, "SELECT key FROM sessions")}


async def test_a_file_that_was_written_anew_too_late_is_not_trusted(path: Path, disk: StandingDisk) -> None:
    """It misses what came since; that it has all is said once it has that too."""
    async with opened(path) as ledger:
        spoiled(path, "DROP TABLE sessions")
        await loses_its_file(path, ledger, "no such table")
        inode = path.stat().st_ino
        disk.begins_at("put_in_place")
        async with asyncio.timeout(20):
            await ledger.keep()
            live(ledger, notebook("meanwhile"), WARM, ASSIGNED)
            await ledger.flush()
        assert not ledger.is_durable
        disk.goes_on.set()
        async with asyncio.timeout(20):
            while path.stat().st_ino == inode:
                await asyncio.sleep(0.01)
        assert {key for (key,) in raw(path, "SELECT key FROM sessions")} == {"lost", "later"}
        assert not ledger.is_durable
        assert ledger_file.missed_marker(path).exists()
        await comes_back(path, ledger)


async def test_what_a_file_alone_knows_is_not_lost_where_its_disk_tells_it_late(
    path: Path, disk: StandingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
    with monkeypatch.context() as away:
        away.setattr(ledger_file, "prepare", lambda _path: (_ for _ in ()).throw(OSError("no such disk")))
        with capture_logs():
            ledger = await Ledger.open(path)
    live(ledger, notebook(visitor=None), (State.ASSIGNED, Reason.ADOPTED))
    disk.begins_at("prepare")
    assert await ledger.keep() == []
    disk.goes_on.set()
    with capture_logs():
        async with asyncio.timeout(20):
            while not (recalled := await ledger.keep()):
                await asyncio.sleep(0.01)
        await ledger.close()
    assert [(row.key, row.visitor) for row in recalled] == [(KEY, "visitor")]
    assert raw(path, "SELECT visitor FROM sessions") == [("visitor",)]


async def test_a_machine_without_threads_loses_no_fact(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with opened(path) as ledger:
        with monkeypatch.context() as short:
            short.setattr(threading.Thread, "start", refuse)
            live(ledger, notebook(), WARM, ASSIGNED)
            await ledger.flush()
            assert raw(path, "SELECT state FROM sessions") == [("assigned",)]
            path.unlink()
            await loses_its_file(path, ledger, "it was deleted")
            await comes_back_of_itself(ledger)
        assert {key for (key,) in raw(path, "SELECT key FROM sessions")} == {KEY, "lost", "later"}


async def test_a_machine_without_memory_loses_no_fact(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_about: object) -> None:
        raise MemoryError

    async with opened(path) as ledger:
        with monkeypatch.context() as short:
            short.setattr(ledger_rows, "stored", refuse)
            await loses_its_file(path, ledger, "MemoryError")
            await ledger.keep()
            assert not ledger.is_durable
        await comes_back(path, ledger)


async def test_a_writer_that_fails_altogether_holds_up_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clicks and the end of the service wait for ``flush``: a ledger that is lost altogether must not stop them."""

    def fail(_error: BaseException) -> str:
        raise RuntimeError("a mistake of ours")

    async with opened(path) as ledger:
        path.unlink()
        monkeypatch.setattr(ledger_module, "cause", fail)
        with capture_logs() as logs:
            live(ledger, notebook("first"), WARM)
            flushing = asyncio.ensure_future(ledger.flush())
            await asyncio.sleep(0)
            live(ledger, notebook("behind it"), WARM)
            async with asyncio.timeout(20):
                await flushing
                await ledger.flush()
                live(ledger, notebook("later"), WARM, ASSIGNED)
                await ledger.flush()
                await ledger.keep()
            await asyncio.sleep(0)  # the task's end is logged in the loop's next round
        assert [line["event"] for line in logs] == ["task.failed"]
    assert len(raw(path, "SELECT key FROM sessions")) == 3  # its end writes what is missing


# The clock


def at_wall(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    """Set the wall clock that the service sees."""
    genuine = time.time
    monkeypatch.setattr(time, "time", lambda: genuine() + ahead)


@pytest.mark.parametrize("ahead", [86400.0, -86400.0])
async def test_a_wall_clock_that_is_set_between_two_services_changes_no_session(
    path: Path, ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(expires_at=500.0), WARM, ASSIGNED)
    at_wall(monkeypatch, ahead)
    async with opened(path) as ledger:
        expires_at = ledger.rows()[KEY].expires_at
        assert expires_at is not None
        assert expires_at - ledger.now() == pytest.approx(400.0, abs=60)
        assert ledger.wall_of(expires_at) == pytest.approx(time.time() + 400.0, abs=60)


async def test_a_wall_clock_that_is_a_year_ahead_for_a_moment_deletes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook("ended"), WARM, ASSIGNED, REAPING, GONE)
        with monkeypatch.context() as later:
            at_wall(later, 366 * 86400.0)
            ledger.prune()
            await ledger.flush()
        assert "ended" in ledger.rows()
    at_wall(monkeypatch, 366 * 86400.0)
    async with opened(path) as ledger:
        assert "ended" in ledger.rows()


async def test_after_a_boot_the_wall_clock_counts_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(), WARM, ASSIGNED)
    monkeypatch.setattr("tmppool.clocks.boot_id", lambda: "another")
    at_wall(monkeypatch, 3600.0)
    async with opened(path) as ledger:
        assert ledger.now() == pytest.approx(time.time(), abs=30)


async def test_time_in_which_nobody_could_use_their_notebook_is_given_back(path: Path) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook("limited"), WARM, ASSIGNED)
        live(ledger, notebook("unlimited", expires_at=None), WARM, ASSIGNED)
        await ledger.flush()
        before = ledger.rows()["limited"].expires_at
        ledger.postpone(3600.0)
        await ledger.flush()
        rows = ledger.rows()
    assert before is not None
    assert rows["limited"].expires_at == before + 3600.0
    assert rows["unlimited"].expires_at is None


@pytest.mark.parametrize("turns", range(6))
async def test_a_writer_that_is_cancelled_in_the_middle_of_a_write_loses_nothing(path: Path, turns: int) -> None:
    ledger = await Ledger.open(path)
    live(ledger, notebook(), WARM, ASSIGNED)
    for _ in range(turns):
        await asyncio.sleep(0)
    with capture_logs() as logs:
        async with asyncio.timeout(20):
            await ledger.close()
    assert logs == []
    assert raw(path, "SELECT key FROM sessions") == [(KEY,)]


async def test_close_leaves_neither_task_nor_thread_behind(path: Path) -> None:
    tasks, threads = asyncio.all_tasks(), threading.active_count()
    async with opened(path) as ledger:
        assert asyncio.all_tasks() > tasks
        await ledger.close()
        assert asyncio.all_tasks() == tasks
        assert await asyncio.to_thread(no_more_threads_than, threads + 1)  # and the one that looks


# What a start asks before it opens the file


@pytest.mark.parametrize(
    ("expires_at", "moves", "sessions"),
    [
        (None, [WARM, ASSIGNED], 1),
        (1e12, [WARM, ASSIGNED], 1),
        (-1e12, [WARM, ASSIGNED], 0),
        (None, [WARM], 0),
        (None, [WARM, ASSIGNED, REAPING], 0),
    ],
)
@pytest.mark.parametrize("kind", [None, "docker", "process"])
async def test_how_many_sessions_the_last_service_left_and_in_what(
    path: Path,
    kind: str | None,
    expires_at: float | None,
    moves: list[tuple[State, Reason]],
    sessions: int,
) -> None:
    async with opened(path) as ledger:
        live(ledger, notebook(expires_at=expires_at), *moves)
        if kind is not None:
            await ledger.note_backend("fake")
            await ledger.note_backend(kind)
        await ledger.flush()
        assert await asyncio.to_thread(left_behind, path) == (kind or "docker", sessions)  # as after kill -9
    assert await asyncio.to_thread(left_behind, path) == (kind or "docker", sessions)


@pytest.mark.parametrize("content", [None, b"", b"no database" * 500])
async def test_a_file_that_tells_nothing_is_left_as_it_is(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.parent.mkdir()
        path.write_bytes(content)
    assert await asyncio.to_thread(left_behind, path) == ("docker", 0)
    assert (path.read_bytes() if path.exists() else None) == content
