"""What a tick decides: tables of facts to plan."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.notebooks import notebook_of
from tmppool.notebook import Notebook, Reason, State
from tmppool.policy import Limits, Plan, plan, shares

NOW = 10_000.0
ONE = {"one": 1.0}
LIMITS = Limits(capacity=10, warm=4, idle=600.0, lifetime=3600.0, parallel_starts=8)


@dataclass
class Facts:
    """A table in short: how many of each state."""

    starting: int = 0
    warm: int = 0
    assigned: int = 0
    reaping: int = 0
    gone: int = 0

    def table(self) -> list[Notebook]:
        found = []
        for state in State:
            found += [
                notebook(state, f"{state}-{number}", moved_at=NOW - 100 + number)
                for number in range(getattr(self, state.value))
            ]
        return found


def notebook(state: State, key: str = "k", **facts: float) -> Notebook:
    made = notebook_of(key, "main", NOW - 100, edition="one")
    made.state, made.active_at = state, NOW
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def limits(**changed: float) -> Limits:
    known = {"capacity": 10, "warm": 4, "idle": 600.0, "lifetime": 3600.0, "parallel_starts": 8}
    return Limits(**(known | changed))


@pytest.mark.parametrize(
    ("facts", "changed", "start"),
    [
        pytest.param(Facts(), {}, 4, id="an empty table is filled to the warm target"),
        pytest.param(Facts(warm=4), {}, 0, id="a full target starts nothing"),
        pytest.param(Facts(warm=3), {}, 1, id="one missing, one started"),
        pytest.param(Facts(warm=1, starting=2), {}, 1, id="those under way count for the target"),
        pytest.param(Facts(warm=1, starting=3), {}, 0, id="those under way fill the target"),
        pytest.param(Facts(assigned=3), {}, 4, id="sessions do not count for the target"),
        pytest.param(Facts(assigned=8), {}, 2, id="capacity limits, sessions included"),
        pytest.param(Facts(assigned=10), {}, 0, id="full is full"),
        pytest.param(Facts(assigned=12), {}, 0, id="more than full, after a restart with less capacity"),
        pytest.param(Facts(assigned=6, reaping=3), {}, 1, id="one that is being reaped holds its place"),
        pytest.param(Facts(assigned=6, reaping=4), {}, 0, id="slow stops never exceed the capacity"),
        pytest.param(Facts(assigned=6, gone=4), {}, 4, id="what is gone holds no place"),
        pytest.param(Facts(), {"parallel_starts": 2}, 2, id="so many at once"),
        pytest.param(Facts(starting=2), {"parallel_starts": 2}, 0, id="no more while those are under way"),
        pytest.param(Facts(starting=1, warm=1), {"parallel_starts": 2}, 1, id="one more beside the one under way"),
        pytest.param(Facts(starting=3), {"parallel_starts": 2}, 0, id="more under way than allowed"),
        pytest.param(Facts(), {"warm": 0}, 0, id="no warm target, no starts"),
        pytest.param(Facts(), {"warm": 20}, 8, id="a target above what may start at once"),
        pytest.param(Facts(), {"warm": 20, "parallel_starts": 99}, 10, id="a target above the capacity"),
    ],
)
def test_so_many_are_started(facts: Facts, changed: dict[str, float], start: int) -> None:
    assert plan(facts.table(), limits(**changed), ONE, NOW, may_start=True).start == ("one",) * start


def test_nothing_is_started_when_nothing_may() -> None:
    assert plan([], LIMITS, ONE, NOW, may_start=False) == Plan((), (), ())


def test_surplus_warm_ones_are_reaped_the_youngest_first() -> None:
    young = notebook(State.WARM, "young", moved_at=NOW - 10)
    old = notebook(State.WARM, "old", moved_at=NOW - 50)
    middle = notebook(State.WARM, "middle", moved_at=NOW - 30)

    decided = plan([young, old, middle], limits(warm=2), ONE, NOW, may_start=True)

    assert decided == Plan((), ((young, Reason.SURPLUS),), ())


def test_warm_ones_for_which_sessions_leave_no_place_are_surplus() -> None:
    """After a restart with a smaller capacity: what would be given away would exceed it."""
    table = Facts(assigned=3, warm=4).table()

    decided = plan(table, limits(capacity=5, warm=5), ONE, NOW, may_start=True)

    assert [(found.key, reason) for found, reason in decided.reap] == [
        ("warm-2", Reason.SURPLUS),
        ("warm-3", Reason.SURPLUS),
    ]
    assert decided.start == ()

    for found, _ in decided.reap:
        found.state = State.REAPING
    assert plan(table, limits(capacity=5, warm=5), ONE, NOW, may_start=True) == Plan((), (), ())


@pytest.mark.parametrize(("at", "is_over"), [(NOW - 1, True), (NOW, True), (NOW + 0.001, False)])
def test_a_session_ends_at_its_expiry_however_busy_it_is(at: float, is_over: bool) -> None:  # noqa: FBT001
    found = notebook(State.ASSIGNED, expires_at=at)
    assert plan([found], limits(warm=0), ONE, NOW, may_start=True).reap == (
        ((found, Reason.EXPIRED),) if is_over else ()
    )


def test_a_session_without_expiry_goes_on() -> None:
    assert plan([notebook(State.ASSIGNED)], limits(warm=0), ONE, NOW, may_start=True) == Plan((), (), ())


IDLE, ASKED, WAITS = "reaped as idle", "asked", "left alone"


@pytest.mark.parametrize(
    ("silent", "asked_ago", "outcome"),
    [
        (0.0, None, WAITS),
        (59.0, None, WAITS),
        pytest.param(60.0, None, ASKED, id="a tenth of the idle time is over"),
        pytest.param(599.0, 30.0, WAITS, id="asked half a minute ago"),
        (600.0, None, ASKED),
        (900.0, None, ASKED),
        (600.0, 0.0, IDLE),
        (900.0, 10.0, IDLE),
        pytest.param(900.0, 300.0, IDLE, id="asked at the very moment at which it fell due"),
        pytest.param(900.0, 301.0, ASKED, id="asked before it fell due: the answer is too old"),
        pytest.param(599.0, 0.0, WAITS, id="asked, and active again since"),
        pytest.param(601.0, 700.0, ASKED, id="asked once in an earlier silence"),
    ],
)
def test_a_silent_session_is_asked_before_it_is_reaped(silent: float, asked_ago: float | None, outcome: str) -> None:
    asked_at = None if asked_ago is None else NOW - asked_ago
    found = notebook(State.ASSIGNED, active_at=NOW - silent, asked_at=asked_at)

    decided = plan([found], limits(warm=0), ONE, NOW, may_start=True)

    expected = {
        IDLE: Plan((), ((found, Reason.IDLE),), ()),
        ASKED: Plan((), (), (found,)),
        WAITS: Plan((), (), ()),
    }
    assert decided == expected[outcome]


@pytest.mark.parametrize(
    ("idle", "silent", "asked_ago", "outcome"),
    [
        pytest.param(20.0, 20.0, 59.0, WAITS, id="busy 20 s ago, asked 59 s ago"),
        pytest.param(20.0, 20.0, 60.0, ASKED, id="a minute has passed"),
        pytest.param(20.0, 20.0, 20.0, WAITS, id="it was busy at the moment at which it was asked"),
        pytest.param(20.0, 30.0, 10.0, IDLE, id="asked since it fell due"),
        pytest.param(20.0, 25.0, 25.0, WAITS, id="it said then that a kernel computes: neither asked nor reaped"),
        pytest.param(20.0, 25.0, 20.0, WAITS, id="a terminal printed 5 s before: it may print again"),
        pytest.param(20.0, 65.0, 60.0, ASKED, id="a terminal printed 5 s before, and a minute has passed"),
        pytest.param(600.0, 600.0, 59.0, WAITS, id="one that says that it was busy a moment less ago than allowed"),
        pytest.param(600.0, 600.0, 601.0, ASKED, id="asked in an earlier silence"),
        pytest.param(3600.0, 400.0, 359.0, WAITS, id="a tenth of an hour is not over"),
        pytest.param(3600.0, 400.0, 360.0, ASKED, id="a tenth of an hour is over"),
    ],
)
def test_no_answer_makes_it_be_asked_more_often_than_once_a_minute(
    idle: float, silent: float, asked_ago: float, outcome: str
) -> None:
    found = notebook(State.ASSIGNED, active_at=NOW - silent, asked_at=NOW - asked_ago)
    decided = plan([found], limits(idle=idle, warm=0), ONE, NOW, may_start=True)
    expected = {
        IDLE: Plan((), ((found, Reason.IDLE),), ()),
        ASKED: Plan((), (), (found,)),
        WAITS: Plan((), (), ()),
    }
    assert decided == expected[outcome]


@pytest.mark.parametrize("idle", [30.0, 60.0, 90.0, 150.0, 600.0, 3600.0])
def test_who_is_silent_and_has_nothing_that_works_is_reaped_when_the_idle_time_is_over(idle: float) -> None:
    found = notebook(State.ASSIGNED, active_at=0.0)
    asks = 0
    for now in range(int(idle) + 1):
        decided = plan([found], limits(idle=idle, warm=0), ONE, float(now), may_start=True)
        assert decided.reap == ()
        if decided.ask:
            asks, found.asked_at = asks + 1, float(now)
    assert asks <= 10
    assert plan([found], limits(idle=idle, warm=0), ONE, idle, may_start=True).reap == ((found, Reason.IDLE),)


@pytest.mark.parametrize("idle", [30.0, 600.0, 3600.0])
def test_the_idle_time_begins_when_something_was_last_seen_at_work(idle: float) -> None:
    """Whoever left a computation alone comes back to its result, not to a notebook that ended with it."""
    found = notebook(State.ASSIGNED, active_at=0.0)
    works_until = 5000.0
    for now in range(20_000):
        decided = plan([found], limits(idle=idle, warm=0), ONE, float(now), may_start=True)
        if decided.ask:
            found.asked_at = float(now)
            found.active_at = float(now) if now < works_until else found.active_at
        if decided.reap:
            break
    # A minute at most passes between what it does and what is known of it; or a tenth of the idle time, if longer.
    assert works_until + idle - max(60.0, idle / 10) <= now <= works_until + idle + 60


def test_no_idle_limit_means_no_asking_and_no_reaping() -> None:
    found = notebook(State.ASSIGNED, active_at=NOW - 1e9)
    assert plan([found], limits(idle=0, warm=0), ONE, NOW, may_start=True) == Plan((), (), ())


@pytest.mark.parametrize(
    ("facts", "unopened", "is_over"),
    [
        pytest.param({"moved_at": NOW - 300}, 300.0, True, id="nobody came in time"),
        pytest.param({"moved_at": NOW - 299}, 300.0, False, id="somebody may still come"),
        pytest.param({"moved_at": NOW - 300, "is_opened": True}, 300.0, False, id="somebody came"),
        pytest.param({"moved_at": NOW - 1e6}, 0.0, False, id="0 is no limit"),
        pytest.param({"moved_at": NOW - 300, "active_at": NOW - 900}, 300.0, True, id="it is not asked first"),
    ],
)
def test_what_nobody_opened_goes_back(facts: dict[str, float], unopened: float, is_over: bool) -> None:  # noqa: FBT001
    found = notebook(State.ASSIGNED, **facts)
    decided = plan([found], limits(unopened=unopened, warm=0), ONE, NOW, may_start=True)
    assert decided == Plan((), ((found, Reason.UNOPENED),) if is_over else (), ())


def test_expiry_comes_before_idleness() -> None:
    found = notebook(State.ASSIGNED, active_at=NOW - 900, expires_at=NOW)
    assert plan([found], limits(warm=0), ONE, NOW, may_start=True) == Plan((), ((found, Reason.EXPIRED),), ())


@pytest.mark.parametrize("state", [State.STARTING, State.REAPING, State.GONE])
def test_only_sessions_expire_or_are_idle(state: State) -> None:
    found = notebook(state, active_at=NOW - 1e6, expires_at=NOW - 1e6)
    decided = plan([found], LIMITS, ONE, NOW, may_start=False)
    assert (decided.reap, decided.ask) == ((), ())


# Editions

BOTH = {"one": 3.0, "two": 1.0}


def warm_of(edition: str, count: int, since: float = 50.0) -> list[Notebook]:
    made = [notebook(State.WARM, f"{edition}-{n}", moved_at=NOW - since + n) for n in range(count)]
    for each in made:
        each.edition = edition
    return made


@pytest.mark.parametrize(
    ("total", "weights", "shared"),
    [
        (8, BOTH, {"one": 6, "two": 2}),
        (4, BOTH, {"one": 3, "two": 1}),
        (1, BOTH, {"one": 1, "two": 0}),
        (0, BOTH, {"one": 0, "two": 0}),
        (5, {"one": 1.0, "two": 1.0}, {"one": 3, "two": 2}),
        (7, {"one": 1.0, "two": 1.0, "three": 1.0}, {"one": 3, "two": 2, "three": 2}),
        (5, {"one": 0.1, "two": 0.0}, {"one": 5, "two": 0}),
        (5, {"one": 0.0}, {"one": 0}),
        (5, {}, {}),
    ],
)
def test_shares_are_whole_and_add_up(total: int, weights: dict[str, float], shared: dict[str, int]) -> None:
    assert shares(total, weights) == shared


@given(st.integers(0, 200), st.dictionaries(st.text(max_size=2), st.floats(0.001, 1000), min_size=1, max_size=6))
def test_no_share_is_one_away_from_its_weight(total: int, weights: dict[str, float]) -> None:
    found, whole = shares(total, weights), sum(weights.values())
    assert sum(found.values()) == total
    assert all(abs(found[name] - total * weight / whole) < 1.001 for name, weight in weights.items())


def test_each_edition_is_started_as_its_share_lacks_it() -> None:
    decided = plan([], limits(warm=8), BOTH, NOW, may_start=True)
    assert sorted(decided.start) == ["one"] * 6 + ["two"] * 2
    assert decided.start[:4].count("two") == 1
    decided = plan([*warm_of("one", 6), *warm_of("two", 1)], limits(warm=8), BOTH, NOW, may_start=True)
    assert decided == Plan(("two",), (), ())


def test_an_edition_beyond_its_share_gives_way_once_others_are_warm() -> None:
    table = [*warm_of("one", 4), *warm_of("two", 4)]
    assert plan(table, limits(warm=8, capacity=20), BOTH, NOW, may_start=True) == Plan(("one", "one"), (), ())
    table += warm_of("one", 1, since=1.0)
    decided = plan(table, limits(warm=8, capacity=20), BOTH, NOW, may_start=True)
    assert [(place.key, reason) for place, reason in decided.reap] == [("two-3", Reason.SURPLUS)]


def test_no_edition_gives_way_that_has_no_more_than_its_share() -> None:
    """Though its warm ones are the youngest of all."""
    table = [*warm_of("one", 3, since=20.0), *warm_of("two", 2, since=90.0)]
    decided = plan(table, limits(warm=4, capacity=20), BOTH, NOW, may_start=True)
    assert [(place.key, reason) for place, reason in decided.reap] == [("two-1", Reason.SURPLUS)]


@pytest.mark.parametrize(
    ("table", "drained"),
    [
        pytest.param([("old", 4)], 1, id="nothing of the new edition has answered yet"),
        pytest.param([("one", 1), ("old", 4)], 2, id="one has: as many as may start"),
        pytest.param([("old", 1)], 0, id="the last warm one stays"),
        pytest.param([("starting", 1), ("old", 3)], 0, id="the first of the new edition is being started"),
        pytest.param([("one", 1), ("old", 1)], 1, id="the last of the old edition goes"),
    ],
)
def test_where_no_place_is_free_the_unwanted_yield(table: list[tuple[str, int]], drained: int) -> None:
    places = [each for edition, count in table for each in warm_of(edition, count)]
    for place in places:
        if place.edition == "starting":
            place.state, place.edition = State.STARTING, "one"
    changed = {"warm": len(places), "capacity": len(places), "parallel_starts": 2}
    decided = plan(places, limits(**changed), ONE, NOW, may_start=True)
    assert [reason for _, reason in decided.reap] == [Reason.DRAINED] * drained
    assert decided.start == ()
    for place, _ in decided.reap:
        place.state = State.REAPING
    if drained:
        assert plan(places, limits(**changed), ONE, NOW, may_start=True) == Plan((), (), ())


@pytest.mark.parametrize(
    ("facts", "capacity", "start", "replaced"),
    [
        pytest.param(Facts(warm=4), 10, 1, [], id="beyond the target, where a place is free"),
        pytest.param(Facts(warm=4, assigned=6), 10, 0, ["warm-0"], id="in place of the oldest, where none is"),
        pytest.param(Facts(warm=1, assigned=9), 10, 0, [], id="not in place of the last warm one"),
        pytest.param(Facts(assigned=10), 10, 0, [], id="a full pool"),
        pytest.param(Facts(warm=3), 10, 1, [], id="one is missing: its start is the proof"),
        pytest.param(Facts(warm=3, starting=1), 10, 0, [], id="a start under way is the proof"),
        pytest.param(Facts(warm=4, reaping=1), 10, 0, [], id="not before the last one has left"),
    ],
)
def test_a_start_is_made_to_prove_that_one_succeeds(
    facts: Facts, capacity: int, start: int, replaced: list[str]
) -> None:
    decided = plan(facts.table(), limits(capacity=capacity), ONE, NOW, may_start=True, is_proof_due=True)
    assert decided.start == ("one",) * start
    assert [(place.key, reason) for place, reason in decided.reap] == [(key, Reason.REPLACED) for key in replaced]


def test_no_proof_is_made_while_nothing_may_start_or_of_nothing() -> None:
    table = Facts(warm=4).table()
    assert plan(table, LIMITS, ONE, NOW, may_start=False, is_proof_due=True) == Plan((), (), ())
    assert plan(warm_of("old", 3), limits(warm=3), {}, NOW, may_start=True, is_proof_due=True) == Plan((), (), ())


def test_nothing_yields_while_nothing_may_start() -> None:
    assert plan(warm_of("old", 4), limits(warm=4, capacity=4), ONE, NOW, may_start=False) == Plan((), (), ())


def test_a_start_of_an_unwanted_edition_is_given_up() -> None:
    place = notebook(State.STARTING)
    place.edition = "old"
    decided = plan([place], limits(warm=0), ONE, NOW, may_start=True)
    assert decided == Plan((), ((place, Reason.DRAINED),), ())


def test_without_any_wanted_edition_nothing_is_started_and_the_warm_stay() -> None:
    """As while a pool has nothing to put in their place."""
    assert plan(warm_of("old", 3), limits(warm=4), {}, NOW, may_start=True) == Plan((), (), ())


# Paused


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        ({"active_at": NOW - 10_000}, Plan((), (), ())),
        ({"active_at": NOW - 10_000, "asked_at": NOW - 1}, Plan((), (), ())),
        ({"moved_at": NOW - 10_000, "is_opened": False}, Plan((), (), ())),
        ({"expires_at": NOW - 1}, Reason.EXPIRED),
    ],
)
def test_of_a_paused_sessions_limits_only_its_lifetime_counts(facts: dict[str, float], outcome: Plan | Reason) -> None:
    session = notebook(State.ASSIGNED, is_paused=True, **facts)
    expected = outcome if isinstance(outcome, Plan) else Plan((), ((session, outcome),), ())
    assert plan([session], limits(unopened=300.0, warm=0), ONE, NOW, may_start=True) == expected


@pytest.mark.parametrize(("capacity", "started"), [(2, 0), (3, 1), (9, 2)])
def test_a_paused_warm_one_keeps_its_place_and_is_available_to_nobody(capacity: int, started: int) -> None:
    table = [notebook(State.WARM, key, is_paused=True) for key in "ab"]
    decided = plan(table, limits(capacity=capacity, warm=2), ONE, NOW, may_start=True)
    assert (len(decided.start), decided.reap) == (started, ())


def test_a_paused_warm_one_is_never_surplus() -> None:
    table = [notebook(State.WARM, key) for key in "abc"]
    table[2].is_paused = True
    decided = plan(table, limits(warm=1), ONE, NOW, may_start=True)
    assert [place.key for place, _ in decided.reap] == ["b"]


def test_a_plan_leaves_the_table_as_it_was() -> None:
    table = Facts(starting=1, warm=6, assigned=2, reaping=1).table()
    before = [(n.state, n.moved_at, n.active_at, n.asked_at) for n in table]
    plan(table, LIMITS, ONE, NOW, may_start=True)
    assert [(n.state, n.moved_at, n.active_at, n.asked_at) for n in table] == before
