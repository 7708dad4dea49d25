"""Sessions: given away once it is written down, bound, shared and ended."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.web.guests import Answer, Place, eventually, opened
from tmppool.errors import BackendError, Shortage, TakenError
from tmppool.ledger_store import Batch, Store
from tmppool.notebook import Reason, State
from tmppool.sessions import Sessions
from tmppool.tasks import spawn


@pytest.fixture(autouse=True)
def _no_blocking_calls() -> None:
    """Opening the service may block; ``opened`` looks at what it does from then on."""


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    async with opened(tmp_path / "state", monkeypatch) as made:
        yield made


@pytest.fixture
def held_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The ledger's thread waits for this before each of its writes."""
    del place  # which is open by now
    may_write, write = threading.Event(), Store.write

    def wait(store: Store, batch: Batch) -> None:
        assert may_write.wait(60)
        write(store, batch)

    monkeypatch.setattr(Store, "write", wait)
    yield may_write
    may_write.set()


async def answers_only_after(held_up: threading.Event, asked: asyncio.Task[Answer]) -> Answer:
    done, _ = await asyncio.wait({asked}, timeout=0.3)
    assert not done, "answered before it was written down"
    held_up.set()
    return await asked


async def written(place: Place, key: str, column: str) -> object:
    """Return what stands in the file, as another process reads it."""

    def read() -> object:
        with contextlib.closing(sqlite3.connect(place.state / "ledger.sqlite")) as database:
            return database.execute(f"SELECT {column} FROM sessions WHERE key = ?", (key,)).fetchone()[0]

    return await asyncio.to_thread(read)


# Giving away


@pytest.mark.parametrize("is_durable", [True, False])
async def test_nobody_enters_before_the_backend_has_noted_that_the_notebook_is_given_away(
    place: Place,
    is_durable: bool,  # noqa: FBT001
) -> None:
    """The ledger alone does not do: it may be lost, and the notebook would look like a warm one."""
    (pool,) = place.pools
    backend = place.backend
    if not is_durable:
        (place.state / "ledger.sqlite.new").mkdir()  # so that it is not written anew
        (place.state / "ledger.sqlite").unlink()
        with capture_logs():
            await place.ledger.keep()
    assert place.ledger.is_durable is is_durable
    taken = set()

    async def refuse(key: str) -> None:
        taken.add(key)
        raise BackendError("no space left on device")

    give, backend.give = backend.give, refuse
    answer = await place.program().ask("POST", "/api/spawn")
    assert (answer.status, answer.json["status"], answer.headers["Retry-After"]) == (503, "warming", "10")
    assert all(pool.find(key) is None for key in taken)

    backend.give = give
    await eventually(lambda: pool.illness is None and not pool.marks.is_doubted)
    answer = await place.program().ask("POST", "/api/spawn")
    assert answer.status == 200
    assert backend.given == {answer.json["url"].split("/")[2]}


async def test_while_no_notebook_can_be_marked_the_health_says_so_and_one_is_lost_not_all(place: Place) -> None:
    (pool,) = place.pools
    backend = place.backend
    tried = []

    async def refuse(key: str) -> None:
        tried.append(key)
        raise BackendError("no space left on device")

    give, backend.give = backend.give, refuse
    for _ in range(5):
        assert (await place.program().ask("POST", "/api/spawn")).status == 503
        await eventually(lambda: pool.illness is not None)
    lost, *proofs = dict.fromkeys(tried)
    assert pool.find(lost) is None
    assert [n.state for n in pool if n.key in proofs] == [State.WARM] * len(proofs)
    told = [check["message"] for check in (await place.operator().get("/health")).json["checks"] if not check["ok"]]
    assert told == ["notebooks cannot be marked as assigned: no space left on device"]
    answer = await place.stranger().get("/health")
    assert (answer.status, "space" in answer.text) == (503, False)

    backend.give = give
    await eventually(lambda: pool.illness is None)
    assert (await place.stranger().get("/health")).status == 200
    assert (await place.program().ask("POST", "/api/spawn")).status == 200


async def test_while_the_backend_is_ill_no_warm_notebook_is_wasted(place: Place) -> None:
    (pool,) = place.pools
    pool.note_illness(BackendError("the engine is away"))
    answer = await place.program().ask("POST", "/api/spawn")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    assert pool.count(State.WARM) == 4
    assert Sessions(place.ledger).shortage(pool) is Shortage.BACKEND_ILL
    pool.note_illness(None)
    assert Sessions(place.ledger).shortage(pool) is None
    assert (await place.program().ask("POST", "/api/spawn")).status == 200


async def test_a_dead_one_is_not_given_away_but_the_next_that_works(place: Place) -> None:
    """Nobody has said that they died: the engine may be away."""
    (pool,) = place.pools
    warm = sorted((n for n in pool if n.state is State.WARM), key=lambda n: n.moved_at)
    *dead, alive = warm
    for notebook in dead:
        await place.backend._end(notebook.key)
    assert await Sessions(place.ledger).assign(pool, "visitor") is alive
    assert [(n.is_live, n.reason) for n in dead] == [(False, Reason.LOST)] * 3
    assert place.backend.given == {alive.key}
    assert pool.starts.trouble is not None  # they were young: an image whose server crashes is started more rarely


async def test_where_all_are_dead_nobody_gets_one_until_there_are_others(place: Place) -> None:
    (pool,) = place.pools
    place.backend.stop_delay = 0.3  # they hold their places, or new ones would be there at once
    for notebook in list(pool):
        await place.backend._end(notebook.key)
    answer = await place.program().ask("POST", "/api/spawn")
    assert (answer.status, answer.json["status"]) == (429, "full")
    await eventually(lambda: pool.count(State.WARM) == 4)
    assert (await place.program().ask("POST", "/api/spawn")).status == 200


async def test_one_that_another_service_gave_away_is_left_alone(place: Place) -> None:
    (pool,) = place.pools
    backend = place.backend
    taken = set()

    async def be_late(key: str) -> None:
        taken.add(key)
        raise TakenError("another service was first")

    give, backend.give = backend.give, be_late
    answer = await place.program().ask("POST", "/api/spawn")
    assert answer.status == 503
    (key,) = taken
    assert key not in pool
    assert key in backend.notebooks
    assert backend.stopped == []
    backend.give = give
    assert (await place.program().ask("POST", "/api/spawn")).json["url"] != f"/user/{key}/"


async def test_nobody_enters_before_the_ledger_has_noted_that_the_notebook_is_given_away(
    place: Place, held_up: threading.Event
) -> None:
    program = place.program()
    asked = spawn(program.ask("POST", "/api/spawn"), "click")
    await eventually(lambda: place.backend.given)  # the mark waits for nothing
    answer = await answers_only_after(held_up, asked)
    assert answer.status == 200
    assert await written(place, answer.json["url"].split("/")[2], "state") == State.ASSIGNED


# Owning and sharing


async def test_one_that_has_an_owner_gets_no_other(place: Place) -> None:
    (pool,) = place.pools
    sessions = Sessions(place.ledger)
    notebook = await sessions.assign(pool, None)
    assert await sessions.bind(notebook, "first")
    assert not await sessions.bind(notebook, "second")
    assert not await sessions.bind(notebook, "first")
    assert (notebook.visitor, await written(place, notebook.key, "visitor")) == ("first", "first")


async def test_a_sharing_that_begins_anew_has_another_token_and_each_is_written_down(place: Place) -> None:
    (pool,) = place.pools
    sessions = Sessions(place.ledger)
    notebook = await sessions.assign(pool, "owner")
    seen = []
    for is_shared in (True, True, False, False, True):
        await sessions.share(notebook, is_shared=is_shared)
        assert await written(place, notebook.key, "shared") == notebook.shared
        seen.append(notebook.shared)
    begun, still, ended, over, anew = seen
    assert begun is not None
    assert (still, ended, over) == (begun, None, None)
    assert anew not in (None, begun)


async def test_a_session_that_has_ended_is_not_shared(place: Place) -> None:
    (pool,) = place.pools
    sessions = Sessions(place.ledger)
    notebook = await sessions.assign(pool, "owner")
    await sessions.end(pool, notebook)
    await sessions.share(notebook, is_shared=True)
    assert (notebook.shared, await written(place, notebook.key, "shared")) == (None, None)


# Ending


async def test_an_end_is_written_down_before_it_is_answered(place: Place, held_up: threading.Event) -> None:
    """A service that is killed after the answer must not give the session back."""
    held_up.set()
    program = place.program()
    key = (await program.ask("POST", "/api/spawn")).json["url"].split("/")[2]
    held_up.clear()
    asked = spawn(program.ask("DELETE", f"/api/session/{key}"), "end")
    await eventually(lambda: place.pools.find(key) is None)
    assert (await answers_only_after(held_up, asked)).status == 200
    assert await written(place, key, "reason") == Reason.ENDED
    assert await written(place, key, "ended_at") is not None


async def test_an_end_by_the_operator_is_written_down_too(place: Place, held_up: threading.Event) -> None:
    held_up.set()
    key = (await place.program().ask("POST", "/api/spawn")).json["url"].split("/")[2]
    held_up.clear()
    asked = spawn(place.operator().ask("DELETE", f"/api/notebooks/{key}"), "end")
    await eventually(lambda: place.pools.find(key) is None)
    assert (await answers_only_after(held_up, asked)).status == 200
    assert await written(place, key, "reason") == Reason.DRAINED


async def test_an_extension_moves_the_idle_clock(place: Place) -> None:
    (pool,) = place.pools
    sessions = Sessions(place.ledger)
    notebook = await sessions.assign(pool, "owner")
    notebook.active_at -= 100.0
    sessions.extend(pool, notebook)
    assert notebook.active_at == pytest.approx(pool.clock(), abs=10)
