"""After a restart: every combination of what runs, what the ledger says, and whether it can be believed."""

import asyncio
import contextlib
import functools
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.conftest import Hours
from tests.notebooks import notebook_of
from tests.test_changes import COLUMNS
from tests.test_ledger import raw
from tests.test_pool import until
from tmppool import log, recovery
from tmppool.backends.fake import FakeBackend
from tmppool.errors import BackendError
from tmppool.ledger import Ledger
from tmppool.ledger_rows import Row
from tmppool.notebook import Notebook, Reason, State, Transition
from tmppool.policy import Limits, opens_until
from tmppool.pool import Phase, Pool
from tmppool.pools import Ended, Pools
from tmppool.reconcile import Reconciler
from tmppool.running import Dial, Given, Running
from tmppool.web.start_limits import HoldingLimit, StartRefusedError, network_of

KEY, OTHER = "k" * 22, "o" * 22
LIMITS = Limits(capacity=4, warm=2, idle=600.0, lifetime=3600.0, parallel_starts=8)


class Service:
    """What a service is made of, as far as recovery knows it: one life between two restarts."""

    def __init__(self, ledger: Ledger, backend: FakeBackend, limits: Limits) -> None:
        self.ledger, self.pools, self.facts = ledger, Pools(), []
        self.pool = Pool(
            "main", backend, [backend.edition], limits, [self.hear], incident_listeners=[log.hear_incident]
        )
        self.pools.add(self.pool)

    def hear(self, fact: Transition) -> None:
        self.facts.append(fact)
        self.pools.hear(fact)
        self.ledger.hear(fact)

    async def at_rest(self) -> None:
        async with asyncio.timeout(10):
            while self.pool._work or self.pool._woken or self.pool.marks._tasks:
                await asyncio.sleep(0)

    async def warmed(self) -> None:
        self.pool.tick()
        await self.at_rest()


Start = Callable[..., object]


@pytest.fixture
def service(tmp_path: Path, backend: FakeBackend) -> Start:
    @asynccontextmanager
    async def start(limits: Limits = LIMITS, *, adopt: bool = True) -> AsyncIterator[Service]:
        ledger = await Ledger.open(tmp_path / "ledger.sqlite")
        made = Service(ledger, backend, limits)
        try:
            if adopt:
                await recovery.adopt(made.pools, ledger)
            yield made
        finally:
            await made.pool.close(stop=False)
            await ledger.close()

    return start


def written(ledger: Ledger, state: State) -> None:
    """Bring a row into this state, with a visitor and 500 seconds to live."""
    notebook = notebook_of(KEY, "main", 0.0)
    notebook.visitor, notebook.expires_at = "visitor", 600.0
    path = {
        State.WARM: [State.WARM],
        State.ASSIGNED: [State.WARM, State.ASSIGNED],
        State.REAPING: [State.WARM, State.ASSIGNED, State.REAPING],
        State.GONE: [State.WARM, State.ASSIGNED, State.REAPING, State.GONE],
    }
    for to in path[state]:
        ledger.hear(notebook.move(to, Reason.IDLE, 100.0))


# What it is


@pytest.mark.parametrize("is_jupyter", [True, False])
async def test_what_an_adopted_notebook_is_is_known_before_the_first_request(
    service: Start,
    backend: FakeBackend,
    is_jupyter: bool,  # noqa: FBT001
) -> None:
    backend.is_jupyter = is_jupyter
    assert (await backend.start(KEY)).is_jupyter is is_jupyter
    await backend.start(OTHER)
    await backend.give(KEY)
    async with service() as made:
        assert {notebook.state for notebook in made.pool} == {State.WARM, State.ASSIGNED}
        assert [notebook.jupyter.is_jupyter for notebook in made.pool] == [is_jupyter, is_jupyter]


async def test_one_that_is_silent_does_not_keep_the_service_from_its_start(
    service: Start, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_RECOGNITION", 0.05)
    running = await backend.start(KEY)
    await backend.give(KEY)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        backend.notebooks[KEY].running = replace(running, is_jupyter=None, dial=Dial(*deaf.getsockname()))
        async with asyncio.timeout(4), service() as made:
            (notebook,) = made.pool
            assert notebook.jupyter.is_jupyter is None
            assert notebook.is_jupyter


async def test_no_start_waits_for_the_end_of_what_was_ended(service: Start, backend: FakeBackend) -> None:
    """A container that cannot be removed would keep everybody else from their sessions."""
    await backend.start(KEY)
    await backend.give(KEY)
    backend.stop_delay = 1e6
    async with service(adopt=False) as made:
        written(made.ledger, State.REAPING)
        await made.ledger.flush()
        async with asyncio.timeout(10):
            await recovery.adopt(made.pools, made.ledger)
            assert made.pool.find(KEY) is None
            assert made.pool.count(State.REAPING) == 1
            backend.stop_delay = 0.0
            await until(lambda: made.pool.count(State.WARM) == LIMITS.warm)
        for task in made.pool._work:
            task.cancel()


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_start_that_is_ended_leaves_the_warm_ones_that_it_was_asking(
    service: Start,
    backend: FakeBackend,
    is_cancelled: bool,  # noqa: FBT001 - a column of the table
) -> None:
    running = await backend.start(KEY)
    await backend.start(OTHER)
    with socket.create_server(("127.0.0.1", 0)) as slow:
        for made in backend.notebooks.values():
            made.running = replace(running, key=made.running.key, dial=Dial(*slow.getsockname()))
        async with service(adopt=False) as made:
            adopting = asyncio.ensure_future(recovery.adopt(made.pools, made.ledger))
            await until(lambda: made.pool.count(State.STARTING) == 2)
            if is_cancelled:
                adopting.cancel()
                await asyncio.wait({adopting})
    with contextlib.suppress(asyncio.CancelledError, ValueError):  # a pool that is closed does not open
        await adopting
    assert backend.stopped == []


# One notebook, every combination

SESSION, WARM, STOPPED = "a session", "warm", "stopped"


@pytest.mark.parametrize("is_trusted", [True, False])
@pytest.mark.parametrize(
    ("row", "given", "becomes"),
    [
        pytest.param(None, Given.NO, WARM, id="no row, not given: nobody's"),
        pytest.param(None, Given.YES, SESSION, id="no row, given: the ledger missed it"),
        pytest.param(None, Given.UNKNOWN, SESSION, id="no row, nobody can tell: may be somebody's, never handed out"),
        pytest.param(State.WARM, Given.NO, WARM, id="warm"),
        pytest.param(State.WARM, Given.YES, SESSION, id="warm, given: the ledger is an older one"),
        pytest.param(State.ASSIGNED, Given.YES, SESSION, id="assigned"),
        pytest.param(State.ASSIGNED, Given.NO, SESSION, id="assigned, while the backend could not note it"),
        pytest.param(State.ASSIGNED, Given.UNKNOWN, SESSION, id="assigned by an older version"),
        pytest.param(State.REAPING, Given.YES, STOPPED, id="its reaping was under way"),
        pytest.param(State.GONE, Given.YES, STOPPED, id="gone, and yet it runs"),
        pytest.param(State.REAPING, Given.UNKNOWN, STOPPED, id="its reaping was under way, by an older version"),
    ],
)
async def test_what_becomes_of_a_running_notebook(
    service: Start,
    backend: FakeBackend,
    row: State | None,
    given: Given,
    is_trusted: bool,  # noqa: FBT001
    becomes: str,
) -> None:
    await backend.start(KEY)
    backend.notebooks[KEY].running = replace(backend.notebooks[KEY].running, given=given)
    async with service(adopt=False) as made:
        if row is not None:
            written(made.ledger, row)
            await made.ledger.flush()
        made.ledger.is_trusted = is_trusted
        with capture_logs() as logs:
            await recovery.adopt(made.pools, made.ledger)
            made.pool.phase = Phase.CLOSING  # so that none is started
            await made.at_rest()
        found = made.pools.find(KEY)
        is_warm = [n.key for n in made.pool if n.state is State.WARM]

        assert ([SESSION] if found else []) + ([WARM] if is_warm else []) == ([] if becomes is STOPPED else [becomes])
        assert backend.stopped == ([KEY] if becomes is STOPPED else [])
        assert [line["event"] for line in logs] == (["orphan.stopped"] if becomes is STOPPED else [])
        if row is State.ASSIGNED:
            notebook = found[1]
            left = notebook.expires_at - made.pool.clock()
            assert (notebook.visitor, left) == ("visitor", pytest.approx(500, abs=30))
        elif becomes is SESSION:
            notebook = found[1]
            left = notebook.expires_at - made.pool.clock()
            assert (notebook.visitor, left) == (None, pytest.approx(LIMITS.lifetime, abs=30))
        if becomes is SESSION:
            await made.pool.marks.close()
            assert backend.given == (set() if given is Given.YES else {KEY})  # from now on it is told by the backend


@pytest.mark.parametrize(("row", "becomes"), [(State.WARM, State.WARM), (None, State.ASSIGNED)])
def test_what_no_backend_can_tell_is_warm_only_by_a_ledger_that_missed_nothing(
    row: State | None, becomes: State
) -> None:
    known = None if row is None else Row(KEY, "main", row, None, None, None, None)
    assert recovery.becomes(known, given=Given.UNKNOWN, is_trusted=True) is becomes
    assert recovery.becomes(known, given=Given.UNKNOWN, is_trusted=False) is State.ASSIGNED


async def test_one_that_another_service_assigned_is_never_its_visitors(service: Start, backend: FakeBackend) -> None:
    """Neither after a restart: two people would have one notebook."""
    async with service() as made:
        await made.warmed()
        found = made.pool.assign("visitor")
        await made.at_rest()
        made.pool.leave(found)
    async with service() as made:
        assert made.pools.held_by("visitor", made.pool) is None
        assert [notebook.visitor for notebook in made.pool if notebook.key == found.key] == [None]
    assert backend.stopped == []


@pytest.mark.parametrize("given", list(Given))
async def test_one_that_was_called_dead_and_runs_goes_on_with_its_visitor(
    service: Start,
    backend: FakeBackend,
    given: Given,
) -> None:
    await backend.start(KEY)
    backend.notebooks[KEY].running = replace(backend.notebooks[KEY].running, given=given)
    async with service(adopt=False) as made:
        written(made.ledger, State.ASSIGNED)
        await made.ledger.end_row(KEY, Reason.DIED)
        await recovery.adopt(made.pools, made.ledger)
        _, notebook = made.pools.find(KEY)
        assert notebook.visitor == "visitor"
        await made.ledger.flush()
        row = made.ledger.rows()[KEY]
        assert (row.state, row.ended_at, row.reason) == (State.ASSIGNED, None, None)


@pytest.mark.parametrize("state", [State.WARM, State.ASSIGNED])
async def test_one_false_list_at_the_start_ends_nothing(
    service: Start, backend: FakeBackend, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_LOOKS", (0.0, 0.0, 0.0))
    await backend.start(KEY)
    async with service(adopt=False) as made:
        written(made.ledger, state)
        await made.ledger.flush()
        backend.unlisted = 1
        await recovery.adopt(made.pools, made.ledger)
        assert [(n.key, n.state) for n in made.pool] == [(KEY, state)]
        assert backend.stopped == []


async def test_a_session_that_was_denied_at_the_start_comes_back_with_all_that_was_known_of_it(
    service: Start, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_LOOKS", (0.0, 0.0, 0.0))
    async with service() as made:
        await made.warmed()
        before = made.pool.assign("a visitor", "a network")
        before.share("a token")
        await made.ledger.note_people(before)
        await made.at_rest()
    async with service(adopt=False) as made:
        backend.unlisted = 9
        await recovery.adopt(made.pools, made.ledger)
        assert made.pool.find(before.key) is None
        assert made.pools.ended(before.key) is not None
        backend.unlisted = 0
        recover = functools.partial(recovery.recover, made.pool, made.ledger)
        await Reconciler(made.pool, made.pools.reason, recover).look()
        after = made.pool.find(before.key)
        assert after is not None
        assert (after.visitor, after.shared, after.network) == ("a visitor", "a token", "a network")
        assert after.expires_at is not None
        assert after.expires_at <= made.pool.clock() + LIMITS.lifetime
        await made.at_rest()
        await made.ledger.flush()
        row = made.ledger.rows()[before.key]
        assert (row.visitor, row.shared, row.network, row.ended_at) == ("a visitor", "a token", "a network", None)


async def test_a_warm_one_that_the_start_has_missed_is_warm_again_and_one_that_only_turns_up_is_not(
    service: Start, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_LOOKS", (0.0, 0.0, 0.0))
    async with service() as made:
        await made.warmed()
        warm = {notebook.key for notebook in made.pool}
    await backend.start(OTHER)  # that no ledger knows
    async with service(adopt=False) as made:
        backend.unlisted = 9
        await recovery.adopt(made.pools, made.ledger)
        backend.unlisted = 0
        recover = functools.partial(recovery.recover, made.pool, made.ledger)
        await Reconciler(made.pool, made.pools.reason, recover).look()
        adopted = {fact.notebook.key for fact in made.facts if (fact.to, fact.reason) == (State.WARM, Reason.ADOPTED)}
        assert adopted == warm
        assert OTHER not in made.pool
        assert OTHER not in backend.stopped  # it may be starting


async def test_a_session_that_the_start_has_missed_is_looked_for_with_each_pulse_and_then_less_often(
    service: Start, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_LOOKS", (0.0, 0.0, 0.0))
    async with service() as made:
        await made.warmed()
        before = made.pool.assign("a visitor")
        await made.at_rest()
    async with service(adopt=False) as made:
        now, lists = 1000.0, 0
        made.pool.clock = lambda: now
        genuine = backend.list

        async def counted(known: Collection[str] = ()) -> list[Running]:
            nonlocal lists
            lists += 1
            return await genuine(known)

        recover = functools.partial(recovery.recover, made.pool, made.ledger)
        reconciler = Reconciler(made.pool, made.pools.reason, recover)
        backend.unlisted = 10_000
        await recovery.adopt(made.pools, made.ledger)
        assert before.key in made.pool.missed
        backend.list = counted

        async def pulses(seconds: int) -> int:
            nonlocal now, lists
            lists = 0
            for _ in range(seconds):
                now += 1.0
                reconciler.pulse()
                await until(lambda: not any(task.get_name().startswith("pulse") for task in asyncio.all_tasks()))
                await until(lambda: not reconciler.is_looking)
            return lists

        assert await pulses(2) >= 2
        assert await pulses(60) in range(10, 15)
        assert made.pool.find(before.key) is None
        backend.unlisted = 0
        assert await pulses(6) > 0
        assert made.pool.find(before.key).visitor == "a visitor"
        assert await pulses(60) == 0

        made.pool.missed.add("one that never comes")
        now += 600
        assert await pulses(60) == 0


@pytest.mark.parametrize(
    ("row", "is_trusted", "becomes", "lines"),
    [
        pytest.param(State.WARM, True, STOPPED, [("warm.outdated", "info")], id="warm: nobody gets it"),
        pytest.param(State.WARM, False, STOPPED, [("warm.outdated", "info")], id="warm, untrusted"),
        pytest.param(State.ASSIGNED, True, SESSION, [("sessions.outdated", "warning")], id="assigned: goes on"),
        pytest.param(None, False, STOPPED, [("warm.outdated", "info")], id="nobody's"),
    ],
)
async def test_what_becomes_of_notebooks_of_other_settings(
    service: Start,
    backend: FakeBackend,
    row: State | None,
    is_trusted: bool,  # noqa: FBT001
    becomes: str,
    lines: list[tuple[str, str]],
) -> None:
    for key in (KEY, "current"):
        await backend.start(key)
    fake = backend.notebooks[KEY]
    fake.running = replace(fake.running, edition="other")
    async with service(adopt=False) as made:
        if row is not None:
            written(made.ledger, row)
            await made.ledger.flush()
        made.ledger.is_trusted = is_trusted
        with capture_logs() as logs:
            await recovery.adopt(made.pools, made.ledger)
        assert (made.pools.find(KEY) is not None) == (becomes is SESSION)
        await made.at_rest()
        warm = {n.key for n in made.pool if n.state is State.WARM}
        assert "current" in warm
        assert KEY not in warm
        assert [(line["event"], line["log_level"], line["count"], line["pool"]) for line in logs] == [
            (*line, 1, "main") for line in lines
        ]
        assert (KEY in backend.stopped) == (becomes is STOPPED)
        if becomes is STOPPED:
            await made.ledger.flush()
            assert KEY not in made.ledger.rows()


@pytest.mark.parametrize(
    ("row", "reason", "in_ledger"),
    [
        pytest.param(State.WARM, None, State.GONE, id="warm: nobody misses it"),
        pytest.param(State.ASSIGNED, Reason.LOST, State.GONE, id="assigned: the visitor is told that it is lost"),
        pytest.param(State.REAPING, Reason.IDLE, State.REAPING, id="reaping: its reason is kept"),
        pytest.param(State.GONE, Reason.IDLE, State.GONE, id="gone: its reason is kept"),
    ],
)
async def test_what_becomes_of_a_row_without_notebook(
    service: Start,
    backend: FakeBackend,
    row: State,
    reason: Reason | None,
    in_ledger: State,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "_LOOKS", (0.0, 0.0, 0.0))
    async with service(adopt=False) as made:
        written(made.ledger, row)
        await made.ledger.flush()
        await recovery.adopt(made.pools, made.ledger)

        ended = made.pools.ended(KEY)
        assert (ended.reason if ended else None) == reason
        assert list(made.pool) == []
        assert made.ledger.rows()[KEY].state is in_ledger
        assert made.ledger.rows()[KEY].ended_at is not None
    async with service() as made:
        ended = made.pools.ended(KEY)
        assert (ended.reason if ended else None) == reason


async def test_a_session_whose_time_ran_out_while_no_service_ran_is_reaped_at_once(
    service: Start, backend: FakeBackend
) -> None:
    await backend.start(KEY)
    async with service(adopt=False) as made:
        notebook = notebook_of(KEY, "main", 0.0)
        notebook.expires_at = 50.0
        made.ledger.hear(notebook.move(State.ASSIGNED, Reason.CLICK, 100.0))
        await made.ledger.flush()
        await recovery.adopt(made.pools, made.ledger)
        await made.warmed()
        assert made.pools.find(KEY) is None
        assert made.pools.ended(KEY).reason is Reason.EXPIRED
        assert KEY in backend.stopped


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sessions SET expires_at = 1",
        "UPDATE sessions SET state = 'gone', ended_at = assigned_at + 1, reason = 'idle'",
        "UPDATE meta SET value = CAST(replace(value, '.', '9.') AS BLOB) WHERE name = 'clock'",
    ],
)
async def test_a_ledger_that_is_not_as_it_was_written_ends_no_session(
    service: Start, backend: FakeBackend, tmp_path: Path, change: str
) -> None:
    async with service() as made:
        await made.warmed()
        held = made.pool.assign("visitor")
        await made.at_rest()
    raw(tmp_path / "ledger.sqlite", change)
    for _ in range(2):
        async with service() as made:
            await made.warmed()
            found = made.pool.find(held.key)
            assert found is not None
            left = found.expires_at - made.pool.clock()
            assert (found.visitor, left) == ("visitor", pytest.approx(LIMITS.lifetime, abs=30))
            assert backend.stopped == []
            assert sum(notebook.state is State.WARM for notebook in made.pool) == LIMITS.warm


async def test_a_warm_notebook_that_does_not_answer_is_not_given_away(service: Start, backend: FakeBackend) -> None:
    running = await backend.start(KEY)
    async with service(adopt=False) as made:
        written(made.ledger, State.WARM)
        await made.ledger.flush()
        await backend._end(KEY)

        async def lists_it_still(_known: object) -> list[object]:
            return [running]

        backend.list = lists_it_still
        await recovery.adopt(made.pools, made.ledger)
        await made.at_rest()
        assert [n.key for n in made.pool if n.state is State.WARM and n.key == KEY] == []
        assert KEY in backend.stopped


async def test_a_backend_that_fails_once_is_asked_again(
    service: Start, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_LOOKS", (0.0, 0.0, 0.0))
    await backend.start(KEY)
    await backend.give(KEY)
    genuine, answers = backend.list, [BackendError("nonsense")]

    async def failing_once(known: Collection[str] = ()) -> list[Running]:
        if answers:
            raise answers.pop()
        return await genuine(known)

    backend.list = failing_once
    async with service() as made:
        assert made.pool.find(KEY) is not None


async def test_a_backend_that_cannot_tell_what_runs_ends_the_start(
    service: Start, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_LOOKS", (0.0, 0.0, 0.0))
    async with service(adopt=False) as made:
        backend.is_ill = True
        with pytest.raises(BackendError, match=r"^the fake was told to be ill$"):
            await recovery.adopt(made.pools, made.ledger)
        backend.is_ill = False


async def test_nothing_is_started_before_everything_that_runs_is_adopted(service: Start, backend: FakeBackend) -> None:
    """Else places would be taken that running notebooks hold, and the capacity exceeded."""
    full = Limits(capacity=4, warm=4, idle=600.0, lifetime=3600.0, parallel_starts=8)
    async with service(full) as made:
        await made.warmed()
        made.pool.assign("visitor")
        assert repr(made.pool) == "<Pool main [3 warm, 1 assigned] of 4>"
    before = backend.started

    async with service(full) as made:
        await made.at_rest()
        assert repr(made.pool) == "<Pool main [3 warm, 1 assigned] of 4>"
        assert backend.started == before


async def test_why_past_sessions_ended_is_known_after_a_restart(service: Start) -> None:
    async with service() as made:
        await made.warmed()
        notebook = made.pool.assign("visitor")
        made.pool.reap(notebook, Reason.EXPIRED)
        await made.at_rest()
        before = made.pools.ended(notebook.key)
    async with service() as made:
        assert made.pools.ended(notebook.key) == Ended(Reason.EXPIRED, pytest.approx(before.at, abs=1), "main")


async def test_rows_of_other_pools_are_left_alone(service: Start) -> None:
    async with service(adopt=False) as made:
        other = notebook_of(KEY, "elsewhere", 0.0)
        made.ledger.hear(other.move(State.ASSIGNED, Reason.CLICK, 0.0))
        await made.ledger.flush()
        await recovery.adopt(made.pools, made.ledger)
        row = made.ledger.rows()[KEY]
        known = Row(KEY, "elsewhere", State.ASSIGNED, None, None, None, None)
        assert row == replace(known, assigned_at=row.assigned_at)


# Again and again


async def test_sessions_keep_key_visitor_and_expiry_through_twenty_kills(tmp_path: Path, backend: FakeBackend) -> None:
    """Each round the service is killed: no close, no stop, only what was flushed is known."""
    path = tmp_path / "ledger.sqlite"
    sessions: dict[str, tuple[str, float]] = {}
    left_behind = []
    for number in range(20):
        made = Service(await Ledger.open(path), backend, Limits(40, 2, 600.0, 3600.0, 8))
        left_behind.append(made)
        await recovery.adopt(made.pools, made.ledger)
        offset = time.time() - made.pool.clock()
        found = {n.key: (n.visitor, n.expires_at + offset) for n in made.pool if n.is_live}
        assert found == {key: (who, pytest.approx(until, abs=1)) for key, (who, until) in sessions.items()}

        await made.warmed()
        notebook = made.pool.assign(f"visitor-{number}")
        await made.ledger.flush()
        sessions[notebook.key] = (f"visitor-{number}", notebook.expires_at + offset)
        await made.at_rest()
        await made.ledger.flush()

    assert len(sessions) == 20
    assert sessions.keys() <= backend.notebooks.keys()
    assert backend.stopped == []
    for made in left_behind:
        made.ledger.hear = lambda _fact: None
        await made.pool.close(stop=False)


async def test_a_ledger_that_is_lost_costs_no_session(service: Start, backend: FakeBackend, tmp_path: Path) -> None:
    async with service() as made:
        await made.warmed()
        held = made.pool.assign("visitor")
        await made.at_rest()
        running = set(backend.notebooks)
    for part in tmp_path.iterdir():
        part.unlink()

    async with service() as made:
        assert [n.key for n in made.pool if n.is_live] == [held.key]
        assert {n.key for n in made.pool if n.state is State.WARM} == running - {held.key}
        assert backend.stopped == []


async def test_an_older_ledger_gives_nothing_away_again_and_ends_nothing(
    service: Start, backend: FakeBackend, tmp_path: Path
) -> None:
    async with service() as made:
        await made.warmed()
        await made.ledger.flush()
    backup = (tmp_path / "ledger.sqlite").read_bytes()
    async with service() as made:
        given = [made.pool.assign(f"visitor-{number}") for number in range(2)]
        await made.at_rest()
        younger = made.pool.assign("visitor-2")
        await made.at_rest()
    for part in tmp_path.iterdir():
        part.unlink()
    (tmp_path / "ledger.sqlite").write_bytes(backup)

    async with service() as made:
        assert {n.key for n in made.pool if n.is_live} == {given[0].key, given[1].key, younger.key}
        assert backend.stopped == []
        assert made.pool.assign("somebody else").key not in {given[0].key, given[1].key, younger.key}


async def test_a_ledger_that_was_passed_over_for_one_run_costs_no_session_and_ends_sharing(
    service: Start, backend: FakeBackend, tmp_path: Path
) -> None:
    async with service() as made:
        await made.warmed()
        before = made.pool.assign("early")
        before.share("1")
        await made.ledger.note_people(before)
        await made.at_rest()
    path = tmp_path / "ledger.sqlite"
    raw(path, "PRAGMA user_version=99")
    async with service() as made:
        assert not made.ledger.is_durable
        made.pool.find(before.key).share(None)
        await made.warmed()
        during = made.pool.assign("late")
        await made.at_rest()
    raw(path, f"PRAGMA user_version={max(COLUMNS)}")

    for _ in range(2):
        async with service() as made:
            assert {n.key: (n.visitor, n.shared) for n in made.pool if n.is_live} == {
                before.key: ("early", None),
                during.key: (None, None),
            }
            assert backend.stopped == []
            await made.ledger.flush()


async def test_owners_come_back_with_a_ledger_that_could_not_be_used_at_the_start(
    service: Start, backend: FakeBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who follows a launch link again would be given a second notebook, and their first would be lost to them."""
    monkeypatch.setattr("tmppool.ledger_file.BUSY", 0.05)
    async with service() as made:
        await made.warmed()
        held, claimed = made.pool.assign("visitor"), made.pool.assign("other")
        await made.at_rest()
        programs = made.pool.assign(None)
        await made.at_rest()
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)) as program:
        program.execute("BEGIN EXCLUSIVE")
        with capture_logs():
            starting = service()
            made = await starting.__aenter__()
        made.pool.find(claimed.key).bind("somebody who claimed it meanwhile")
        await recovery.keep(made.pools, made.ledger)
        assert made.pools.held_by("visitor", made.pool) is None
    with capture_logs():
        await recovery.keep(made.pools, made.ledger)
    assert {notebook.key: notebook.visitor for notebook in made.pool if notebook.is_live} == {
        held.key: "visitor",
        claimed.key: "somebody who claimed it meanwhile",
        programs.key: None,
    }
    await starting.__aexit__(None, None, None)


async def test_each_fact_that_the_ledger_has_of_a_session_is_taken_over(service: Start) -> None:
    shown_elsewhere = {"key", "pool", "state", "reason", "expires_at"}
    facts = {field.name for field in fields(Notebook)}.intersection(COLUMNS[max(COLUMNS)]) - shown_elsewhere
    async with service() as made:
        await made.warmed()
        held = made.pool.assign("visitor")
        for name in facts:
            setattr(held, name, f"its {name}")
        await made.ledger.note_people(held)
    async with service() as made:
        found = made.pool.find(held.key)
        assert {name: getattr(found, name) for name in facts} == {name: f"its {name}" for name in facts}


async def test_a_network_holds_after_a_restart_what_it_held_before(service: Start) -> None:
    network = network_of("198.51.100.7")
    for run in range(3):
        async with service() as made:
            limit = HoldingLimit(made.ledger.secret)
            await made.warmed()
            assert sum(n.is_live for n in made.pool) == run
            if run < 2:
                made.pool.assign(None, limit.check(made.pool, network))
            else:
                with pytest.raises(StartRefusedError):
                    limit.check(made.pool, network)
                limit.check(made.pool, network_of("198.51.100.8"))


OPENED, UNOPENED = True, False


@pytest.mark.parametrize(
    ("row", "is_written", "is_trusted", "ago", "becomes"),
    [
        pytest.param(State.ASSIGNED, False, True, 0, UNOPENED, id="nobody opened it"),
        pytest.param(State.ASSIGNED, False, True, 500, UNOPENED, id="nobody opened it yet"),
        pytest.param(State.ASSIGNED, True, True, 0, OPENED, id="somebody opened it"),
        pytest.param(State.ASSIGNED, False, False, 0, OPENED, id="not opened, says a ledger that missed a run"),
        pytest.param(State.ASSIGNED, False, True, 601, OPENED, id="opened since the ledger was copied, perhaps"),
        pytest.param(State.WARM, False, True, 0, OPENED, id="assigned since the ledger was copied"),
        pytest.param(None, False, True, 0, OPENED, id="assigned, and in no ledger"),
    ],
)
async def test_what_a_ledger_does_not_know_to_be_unopened_is_not_reaped_for_it(
    service: Start,
    backend: FakeBackend,
    row: State | None,
    is_written: bool,  # noqa: FBT001
    is_trusted: bool,  # noqa: FBT001
    ago: float,
    becomes: bool,  # noqa: FBT001
    hours: Hours,
) -> None:
    await backend.start(KEY)
    backend.notebooks[KEY].running = replace(backend.notebooks[KEY].running, given=Given.YES)
    async with service(replace(LIMITS, unopened=600.0), adopt=False) as made:
        if row is not None:
            written(made.ledger, row)
        if is_written:
            made.ledger.note_opened(notebook_of(KEY))
        hours.go_by(ago / 3600)
        made.ledger.is_trusted = is_trusted
        await recovery.adopt(made.pools, made.ledger)
        _, notebook = made.pools.find(KEY)
        assert notebook.is_opened is becomes
        # One that nobody opened has its whole time again: nobody could open it while no service ran.
        until = opens_until(notebook, made.pool.limits)
        assert until == (None if becomes is OPENED else pytest.approx(made.pool.clock() + 600, abs=30))
        await made.ledger.flush()
        assert (made.ledger.rows()[KEY].opened_at is not None) is becomes


async def test_what_was_shared_stays_shared_and_a_lost_ledger_ends_that(
    service: Start, backend: FakeBackend, tmp_path: Path
) -> None:
    async with service() as made:
        await made.warmed()
        held = made.pool.assign("visitor")
        held.share("1")
        await made.ledger.note_people(held)
    for lose, shared in ((False, "1"), (True, None)):
        if lose:
            for part in tmp_path.iterdir():
                part.unlink()
        async with service() as made:
            found = made.pool.find(held.key)
            assert found is not None
            assert (found.shared, found.visitor) == (shared, "visitor" if shared else None)
