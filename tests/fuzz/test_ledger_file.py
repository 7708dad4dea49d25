"""A ledger whose file was damaged anywhere: said in the log at most, and the service goes on."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.fuzz.effort import examples
from tests.notebooks import notebook_of
from tests.test_ledger import opened
from tmppool.ledger import Ledger
from tmppool.ledger_file import left_behind
from tmppool.ledger_rows import Row
from tmppool.notebook import Reason, State, Transition

pytestmark = pytest.mark.corpus

KEYS = [f"{number:022d}" for number in range(40)]


async def write(ledger: Ledger, keys: list[str]) -> None:
    for number, key in enumerate(keys):
        notebook = notebook_of(key, "main", 0.0)
        ledger.hear(Transition(notebook, State.STARTING, State.WARM, Reason.READY, 0.0, 0.0))
        if number % 3:
            notebook.visitor, notebook.expires_at = "v" * 32, 60.0
            ledger.hear(Transition(notebook, State.WARM, State.ASSIGNED, Reason.CLICK, 0.0, 0.0))
        if number % 3 == 2:
            ledger.hear(Transition(notebook, State.ASSIGNED, State.REAPING, Reason.IDLE, 0.0, 0.0))
    await ledger.flush()


@pytest.fixture
async def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.sqlite"
    async with opened(path) as ledger:
        await write(ledger, KEYS)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


changes = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True) | st.floats(0, 0.02), st.binary(min_size=1, max_size=20)), max_size=8
)


@given(changes=changes, end=st.none() | st.floats(0, 1), junk=st.binary(max_size=100))
@examples(60)
async def test_a_damaged_file_is_gone_on_with_or_without(
    tmp_path: Path, whole: Path, changes: list[tuple[float, bytes]], end: float | None, junk: bytes
) -> None:
    data = bytearray(whole.read_bytes())
    for place, put in changes:
        at = int(place * len(data))
        data[at : at + len(put)] = put
    if end is not None:
        data = data[: int(end * len(data))] + junk
    path = tmp_path / "state" / "ledger.sqlite"
    path.parent.mkdir(exist_ok=True)
    for part in path.parent.iterdir():
        part.unlink()
    path.write_bytes(data)
    kind, sessions = await asyncio.to_thread(left_behind, path)
    assert (type(kind), type(sessions)) == (str, int)
    assert path.read_bytes() == data
    with capture_logs() as logs:
        async with opened(path) as ledger:
            assert len(ledger.secret) == 32
            for key, row in ledger.rows().items():
                assert key == row.key
                assert isinstance(row, Row)
                assert isinstance(row.state, State)
                assert row.reason is None or isinstance(row.reason, Reason)
                assert row.expires_at is None or isinstance(row.expires_at, float)
                assert row.ended_at is None or isinstance(row.ended_at, float)
            await write(ledger, [KEYS[0], "n" * 22])
            is_lost = any(line["event"] == "ledger.lost" for line in logs)
            assert is_lost or {KEYS[0], "n" * 22} <= set(ledger.rows())
            await ledger.end_row(KEYS[0], Reason.DIED)
    assert {line["event"] for line in logs} <= {
        "ledger.set_aside", "ledger.open_failed", "ledger.lost", "ledger.disbelieved",
    }  # fmt: skip
