"""The table of one pool's notebooks: life cycle, failure, recovery, end."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from structlog.testing import capture_logs

from tests.specs import spec_of
from tmppool import jupyter, recovery
from tmppool import pool as pool_module
from tmppool.backends.base import Edition
from tmppool.backends.fake import FakeBackend
from tmppool.errors import BackendError, NoNotebookError, Shortage, StartError, UnaskedError
from tmppool.incidents import BackendFailed, BackendRecovered, Incident
from tmppool.ledger_rows import Row
from tmppool.notebook import UNDECIDED, Notebook, Reason, State, Transition
from tmppool.policy import Limits, shares
from tmppool.pool import PHASES, Phase, Pool
from tmppool.pools import Pools
from tmppool.reconcile import Reconciler
from tmppool.running import Death, Dial, Given, Running
from tmppool.starts import PROOF, YOUNG, Trouble

Factory = Callable[..., Pool]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0)


async def at_rest(pool: Pool) -> None:
    """Return when the pool has nothing under way and nothing scheduled."""
    await until(lambda: not pool._work and not pool._woken)


async def marked(pool: Pool) -> None:
    """Return when no mark is being set."""
    await until(lambda: not pool.marks._tasks)


async def warmed(pool: Pool) -> Pool:
    pool.tick()
    await at_rest(pool)
    return pool


def story(facts: list[Transition]) -> list[str]:
    return [f"{fact.was} > {fact.to}: {fact.reason}" for fact in facts]


# Phases

ARROWS = {(Phase.ADOPTING, Phase.OPEN), (Phase.ADOPTING, Phase.CLOSING), (Phase.OPEN, Phase.CLOSING)}


def test_the_table_of_phases_holds_these_arrows_and_no_other() -> None:
    assert {(was, to) for was, targets in PHASES.items() for to in targets} == ARROWS
    assert set(PHASES) == set(Phase)


@pytest.mark.parametrize(("was", "to"), list(itertools.product(Phase, Phase)))
async def test_a_pool_moves_along_the_table_alone(pool: Factory, was: Phase, to: Phase) -> None:
    main = pool()
    main.phase = was
    if (was, to) in ARROWS:
        main._become(to)
        assert main.phase is to
        return
    with pytest.raises(ValueError, match=f" is {was} and may not become {to}$"):
        main._become(to)
    assert main.phase is was


async def test_a_pool_that_adopts_decides_nothing_until_it_is_open(
    backend: FakeBackend, clock: Callable[[], float]
) -> None:
    main = Pool("main", backend, [backend.edition], Limits(2, 2, 600.0, 3600.0, 2), clock=clock)
    assert main.phase is Phase.ADOPTING
    main.adopt_session(await backend.start("k" * 22), visitor=None, expires_in=-1.0)
    main.tick()
    main.wake()
    await asyncio.sleep(0)
    assert repr(main) == "<Pool main [1 assigned] of 2>"
    main.open()
    await warmed(main)
    assert repr(main) == "<Pool main [2 warm] of 2>"
    with pytest.raises(ValueError, match="is open and may not become open"):
        main.open()
    await main.close(stop=True)
    await main.close(stop=True)
    assert main.phase is Phase.CLOSING


async def test_the_trouble_of_a_backend_lasts_from_its_first_word_on(pool: Factory, clock: Callable[[], float]) -> None:
    main = pool()
    main.note_illness(BackendError("one"))
    clock.now += 5
    main.note_illness(BackendError("other"))
    assert main.illness == Trouble("other", 1000.0)
    main.note_illness(None)
    assert main.illness is None


# Life cycle


async def test_a_notebook_lives_from_start_to_gone_and_each_move_is_told(pool: Factory, backend: FakeBackend) -> None:
    facts: list[Transition] = []
    main = await warmed(pool(listeners=[facts.append], capacity=1, warm=1))
    assert repr(main) == "<Pool main [1 warm] of 1>"

    notebook = main.assign("visitor")
    assert repr(main) == "<Pool main [1 assigned] of 1>"
    assert main.find(notebook.key) is notebook

    main.limits = replace(main.limits, warm=0)  # no refill
    main.reap(notebook, Reason.ENDED)
    assert repr(main) == "<Pool main [1 reaping] of 1>"
    assert main.find(notebook.key) is None

    await at_rest(main)
    assert repr(main) == "<Pool main [empty] of 1>"
    assert backend.notebooks == {}
    assert {fact.notebook for fact in facts} == {notebook}
    assert story(facts) == [
        "starting > warm: ready",
        "warm > assigned: click",
        "assigned > reaping: ended",
        "reaping > gone: ended",
    ]


async def test_a_key_has_at_least_128_random_bits_and_is_url_safe(pool: Factory) -> None:
    main = await warmed(pool(capacity=8, warm=8))
    keys = {notebook.key for notebook in main}
    assert len(keys) == 8
    assert all(len(key) == 22 and key.replace("-", "").replace("_", "").isalnum() for key in keys)


async def test_the_oldest_warm_one_is_given_first(pool: Factory, clock: Callable[[], float]) -> None:
    main = pool(capacity=3, warm=1)
    order = []
    for number in range(3):
        clock.now += 10
        main.limits = replace(main.limits, warm=number + 1)
        await warmed(main)
        order.append(next(n for n in main if n.state is State.WARM and n not in order))
    assert [main.assign(None) for _ in range(3)] == order


async def test_a_visitor_gets_the_times_that_the_limits_say(pool: Factory, clock: Callable[[], float]) -> None:
    main = await warmed(pool(lifetime=3600.0))
    clock.now += 50
    notebook = main.assign("visitor")
    assert (notebook.visitor, notebook.active_at, notebook.expires_at) == ("visitor", clock.now, clock.now + 3600)


async def test_without_a_lifetime_nothing_expires(pool: Factory) -> None:
    main = await warmed(pool(lifetime=0))
    assert main.assign(None).expires_at is None


async def test_a_taken_place_is_refilled_at_once_without_a_tick_from_outside(
    pool: Factory, backend: FakeBackend
) -> None:
    main = await warmed(pool(capacity=4, warm=2))
    main.assign(None)
    await at_rest(main)
    assert repr(main) == "<Pool main [2 warm, 1 assigned] of 4>"
    assert backend.started == 3


async def test_a_place_is_held_before_the_backend_is_asked(pool: Factory, backend: FakeBackend) -> None:
    main = pool(capacity=3, warm=3)
    for _ in range(5):
        main.tick()
    assert repr(main) == "<Pool main [3 starting] of 3>"
    await at_rest(main)
    assert backend.started == 3


async def test_no_more_start_at_once_than_may(pool: Factory, backend: FakeBackend) -> None:
    main = pool(capacity=5, warm=5, parallel_starts=2)
    most = 0
    main.tick()
    while main.count(State.WARM) < 5:
        most = max(most, main.count(State.STARTING))
        await asyncio.sleep(0)
    assert most == 2


# Listeners


class DeafError(Exception):
    """A listener's own trouble."""


@pytest.mark.parametrize("to", [State.WARM, State.ASSIGNED, State.REAPING, State.GONE])
@pytest.mark.parametrize("is_failing", [False, True])
async def test_a_listener_that_raises_changes_nothing_and_the_others_hear(
    pool: Factory,
    backend: FakeBackend,
    to: State,
    is_failing: bool,  # noqa: FBT001
) -> None:
    def deaf(fact: Transition) -> None:
        if fact.to is to:
            raise DeafError

    facts: list[Transition] = []
    main = pool(listeners=[deaf, facts.append], capacity=1, warm=1)
    with capture_logs() as logs:
        await warmed(main)
        notebook = main.assign("visitor")
        assert await main.marks.is_set(notebook)
        main.reap(notebook, Reason.ENDED)
        backend.fail_next = is_failing
        await at_rest(main)

    assert notebook.state is State.GONE
    assert notebook.key not in backend.notebooks
    assert story(facts)[:4] == [
        "starting > warm: ready",
        "warm > assigned: click",
        "assigned > reaping: ended",
        "reaping > gone: ended",
    ]
    assert story(facts)[4:] == ["starting > gone: failed" if is_failing else "starting > warm: ready"]
    told = [line for line in logs if line["event"] == "listener.failed"]
    assert [line["to"] for line in told] == [to] * sum(fact.to is to for fact in facts)


@pytest.mark.parametrize("drained", [State.STARTING, State.WARM])
async def test_a_listener_that_raises_at_every_move_leaves_no_notebook_behind(
    pool: Factory, backend: FakeBackend, drained: State
) -> None:
    def deaf(_fact: Transition) -> None:
        raise DeafError

    item = await backend.start("k" * 22)
    main = pool(listeners=[deaf])
    with capture_logs():
        await main.adopt_warm(item)
        main.adopt_session(await backend.start("s" * 22), visitor=None, expires_in=None)
        main.tick()
        if drained is State.WARM:
            await at_rest(main)
        main.drain()
        await main.close(stop=True)
    assert (main.places, backend.notebooks) == ([], {})


async def test_a_listener_to_incidents_that_raises_is_the_loops_error_and_the_others_hear(
    backend: FakeBackend,
) -> None:
    def deaf(_incident: Incident) -> None:
        raise DeafError

    errors: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context["exception"]))
    heard: list[Incident] = []
    limits = Limits(1, 1, 0.0, 0.0, 1)
    main = Pool("main", backend, [backend.edition], limits, incident_listeners=[deaf, heard.append])
    main.note_illness(BackendError("away"))
    main.note_illness(None)
    assert heard == [BackendFailed("main", "away"), BackendRecovered("main")]
    assert [type(error) for error in errors] == [DeafError, DeafError]
    await main.close(stop=True)


async def test_a_listener_hears_when_what_follows_is_under_way(pool: Factory, backend: FakeBackend) -> None:
    heard: list[tuple[State, int]] = []
    main = pool(capacity=1, warm=1)
    main.listen(lambda fact: heard.append((fact.to, len(main._work))))
    await warmed(main)
    main.reap(main.assign(None), Reason.ENDED)
    assert heard == [(State.WARM, 1), (State.ASSIGNED, 0), (State.REAPING, 1)]
    await at_rest(main)


# Doubt


async def test_a_doubted_one_is_given_to_nobody_until_it_is_trusted(pool: Factory) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    (notebook,) = main
    main.doubt(notebook.key)
    assert main.doubted == {notebook.key}
    with pytest.raises(NoNotebookError):
        main.assign(None)
    main.trust(notebook.key)
    assert main.assign(None) is notebook


async def test_only_what_is_warm_or_assigned_is_doubted_and_no_longer_than_that(pool: Factory) -> None:
    main = pool(capacity=1, warm=1)
    main.tick()
    for key in (main.places[0].key, "nobody's"):
        main.doubt(key)
    assert main.doubted == set()
    await at_rest(main)
    (notebook,) = main
    main.doubt(notebook.key)
    main.reap(notebook, Reason.DIED)
    assert main.doubted == set()


# No notebook now


async def test_a_cold_pool_asks_to_come_back_in_a_second(pool: Factory) -> None:
    main = pool()
    main.tick()
    with pytest.raises(NoNotebookError, match=r"^notebooks are being started$") as caught:
        main.assign(None)
    assert caught.value.cause is Shortage.WARMING
    assert caught.value.retry_after == 1


async def test_a_full_pool_says_so(pool: Factory) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    main.assign(None)
    with pytest.raises(NoNotebookError, match=r"^all 1 notebooks are in use$") as caught:
        main.assign(None)
    assert (caught.value.cause, caught.value.retry_after) == (Shortage.FULL, 30)


async def test_the_reason_why_nothing_is_assigned_can_be_asked_for(pool: Factory) -> None:
    main = pool(capacity=1, warm=1)
    assert main.shortage is Shortage.WARMING
    await warmed(main)
    assert main.shortage is None
    main.doubt(next(iter(main)).key)
    assert main.shortage is Shortage.WARMING
    main.trust(next(iter(main)).key)
    main.assign(None)
    assert main.shortage is Shortage.FULL


async def test_one_that_is_being_reaped_still_fills_the_pool(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    backend.is_ill = True
    main.reap(main.assign(None), Reason.ENDED)
    with pytest.raises(NoNotebookError, match=r"^all 1 notebooks are in use$"):
        main.assign(None)


# Failed starts


async def test_a_failed_start_backs_off_says_why_and_holds_no_place(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    facts: list[Transition] = []
    backend.fail_next = 1
    main = pool(listeners=[facts.append], capacity=1, warm=1)

    with capture_logs() as logs:
        main.tick()
        await at_rest(main)

    assert main.starts.trouble == Trouble("the fake was told to fail", clock.now)
    assert story(facts) == ["starting > gone: failed"]
    assert repr(main) == "<Pool main [empty] of 1>"
    (line,) = [line for line in logs if line["event"] == "start.failed"]
    assert (line["error"], line["log_tail"]) == ("the fake was told to fail", ("last words",))

    main.tick()
    assert main.count(State.STARTING) == 0
    clock.now += 1
    main.tick()
    assert main.count(State.STARTING) == 1
    await at_rest(main)
    assert repr(main) == "<Pool main [1 warm] of 1>"
    assert (main.starts.trouble, main.starts.backoff.failures) == (None, 0)


async def test_after_a_failure_the_next_try_comes_by_itself(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    backend.fail_next = 1
    main = pool(capacity=1, warm=1)
    main.starts.backoff.first = 0.001
    main.tick()
    await at_rest(main)
    clock.now += 1
    await until(lambda: main.count(State.WARM) == 1)


async def test_a_visitor_is_told_when_the_next_try_is(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    backend.fail_next = 5
    main = pool(capacity=1, warm=1)
    for _ in range(5):
        await warmed(main)
        clock.now += 60
    clock.now = main.starts.backoff.until - 11.8
    with pytest.raises(NoNotebookError) as caught:
        main.assign(None)
    assert caught.value.retry_after == 12


async def test_a_start_that_cannot_succeed_soon_is_put_off_the_longest_and_said_so(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    async def refuse(key: str, _edition: Edition) -> Running:
        raise StartError(f"no image for {key}", transient=False)

    backend.start = refuse
    main = pool(capacity=1, warm=1)
    with capture_logs() as logs:
        await warmed(main)
    (line,) = [line for line in logs if line["event"] == "start.failed"]
    assert not line["transient"]
    assert main.starts.backoff.until - clock.now == pytest.approx(57, abs=3.1)
    clock.now += 53
    main.tick()
    assert main.count(State.STARTING) == 0


async def test_many_failures_leave_one_timer(pool: Factory, backend: FakeBackend, clock: Callable[[], float]) -> None:
    """Each next try supersedes the last one."""
    backend.fail_next = 9
    main = pool(capacity=1, warm=1)
    with capture_logs():
        await warmed(main)
        first = main._sleeper
        assert first is not None
        clock.now += 60
        await warmed(main)
    assert main._sleeper is not first
    assert first.cancelled()


async def test_a_warm_one_that_ends_young_is_a_failed_start_and_one_that_ends_later_is_not(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    main = pool(capacity=4, warm=2)
    for failures in (1, 2):
        await warmed(main)
        both = list(main)
        clock.now += 3
        with capture_logs() as logs:
            for each in both:
                main.reap(each, Reason.DIED)
                await at_rest(main)
        failed = [line for line in logs if line["event"] == "start.failed"]
        assert [line["error"] for line in failed] == ["a notebook ended 3 s after it was warm (died)"] * 2
        assert main.count(State.STARTING) + main.count(State.WARM) == 0
        assert main.starts.trouble is not None
        clock.now = main.starts.backoff.until
        await warmed(main)
        assert main.count(State.WARM) == 2
        assert (main.starts.trouble is not None) == (failures > 1)

    clock.now += YOUNG + 1
    main.tick()
    assert main.starts.trouble is None
    main.reap(next(iter(main)), Reason.DIED)
    assert main.starts.trouble is None


async def test_a_session_that_ends_young_is_no_failed_start(pool: Factory) -> None:
    main = await warmed(pool(capacity=2, warm=1))
    main.reap(main.assign(None), Reason.DIED)
    assert main.starts.trouble is None


async def test_one_that_is_dead_as_it_is_assigned_and_young_is_a_failed_start(
    pool: Factory, clock: Callable[[], float]
) -> None:
    main = await warmed(pool(capacity=4, warm=2))
    clock.now += 3
    with capture_logs() as logs:
        main.reap_unusable(main.assign(None))
    assert [line["error"] for line in logs if line["event"] == "start.failed"] == [
        "a notebook ended 3 s after it was warm (lost)"
    ]
    assert main.starts.trouble is not None
    clock.now += YOUNG
    main.starts.forget(clock())
    clock.now += YOUNG
    main.reap_unusable(main.assign(None))
    assert main.starts.trouble is None


async def test_while_starts_fail_one_is_tried_at_a_time(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    backend.fail_next = 4
    main = pool(capacity=4, warm=4)
    with capture_logs():
        await warmed(main)
    assert (backend.started, main.starts.backoff.failures) == (4, 1)
    clock.now = main.starts.backoff.until
    backend.delay = 1e6
    main.tick()
    assert main.count(State.STARTING) == 1


async def test_a_backend_that_is_well_again_is_tried_at_once(pool: Factory, backend: FakeBackend) -> None:
    main = pool(capacity=2, warm=2)
    backend.is_ill = True
    with capture_logs():
        await warmed(main)
        main.note_illness(BackendError("away"))
        backend.is_ill = False
        main.note_illness(None)
    assert main.starts.trouble is None
    await at_rest(main)
    assert main.count(State.WARM) == 2


async def test_when_nothing_was_started_for_long_a_start_is_proved_and_the_target_kept(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    main = await warmed(pool(capacity=4, warm=2))
    clock.now += PROOF
    await warmed(main)
    assert (backend.started, main.count(State.WARM), len(backend.stopped)) == (3, 2, 1)
    await warmed(main)
    assert backend.started == 3


async def test_a_start_that_is_made_as_proof_and_fails_is_known_and_costs_nobody_a_notebook(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    main = await warmed(pool(capacity=4, warm=2))
    clock.now += PROOF
    backend.fail_next = 1
    with capture_logs():
        await warmed(main)
    assert main.starts.trouble == Trouble("the fake was told to fail", clock.now)
    assert main.count(State.WARM) == 2


async def test_a_bug_in_the_backend_is_a_failed_start(pool: Factory, backend: FakeBackend) -> None:
    async def broken(key: str, _edition: Edition) -> Running:
        raise ZeroDivisionError(key)

    backend.start = broken
    main = pool(capacity=1, warm=1)
    with capture_logs() as logs:
        await warmed(main)
    assert main.starts.trouble.error == "ZeroDivisionError in the backend"
    assert [line["event"] for line in logs] == ["start.crashed", "start.failed"]
    assert repr(main) == "<Pool main [empty] of 1>"


# Reaping


async def test_reaping_twice_is_reaping_once(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    notebook = main.assign(None)
    main.limits = replace(main.limits, warm=0)
    main.reap(notebook, Reason.ENDED)
    main.reap(notebook, Reason.DRAINED)
    await at_rest(main)
    main.reap(notebook, Reason.DRAINED)
    assert (notebook.reason, backend.stopped) == (Reason.ENDED, [notebook.key])


async def test_a_stop_that_fails_is_tried_until_it_works(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_STOP_RETRY", 0.0)
    main = await warmed(pool(capacity=1, warm=1))
    notebook = main.assign(None)
    backend.is_ill = True

    with capture_logs() as logs:
        main.reap(notebook, Reason.ENDED)
        await until(lambda: len([line for line in logs if line["event"] == "stop.failed"]) >= 3)
    assert repr(main) == "<Pool main [1 reaping] of 1>"

    backend.is_ill = False
    await until(lambda: notebook.state is State.GONE)
    assert notebook.key not in backend.notebooks


async def test_a_stop_that_fails_by_whatever_is_tried_until_it_works(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a lack of threads: its place would be taken for good."""
    monkeypatch.setattr(pool_module, "_STOP_RETRY", 0.0)
    main = await warmed(pool(capacity=1, warm=1))
    notebook, genuine, failures = main.assign(None), backend.stop, [RuntimeError("can't start new thread")]

    async def stop(key: str) -> None:
        if failures:
            raise failures.pop()
        await genuine(key)

    monkeypatch.setattr(backend, "stop", stop)
    with capture_logs() as logs:
        main.reap(notebook, Reason.ENDED)
        await until(lambda: notebook.state is State.GONE)
    assert [(line["event"], line["error"]) for line in logs] == [
        ("stop.failed", "RuntimeError: can't start new thread")
    ]
    assert main.stuck == {}


async def test_a_session_is_reaped_when_it_expires(pool: Factory, clock: Callable[[], float]) -> None:
    main = await warmed(pool(lifetime=100.0, idle=0.0))
    notebook = main.assign(None)
    clock.now += 99
    main.tick()
    assert notebook.is_live
    clock.now += 1
    main.tick()
    assert (notebook.state, notebook.reason) == (State.REAPING, Reason.EXPIRED)


async def test_a_silent_session_is_asked_and_then_reaped(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    main = await warmed(pool(idle=60.0))
    notebook = main.assign(None)
    clock.now += 60
    main.tick()
    assert notebook.is_live
    await until(lambda: notebook.state is State.GONE)
    assert notebook.reason is Reason.IDLE
    assert backend.stopped == [notebook.key]


async def test_a_busy_kernel_postpones_the_reaping(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    main = await warmed(pool(idle=60.0))
    notebook = main.assign(None)
    backend.notebooks[notebook.key].kernels = [{"execution_state": "busy"}]
    for _ in range(5):
        clock.now += 60
        await warmed(main)
        assert (notebook.state, notebook.active_at) == (State.ASSIGNED, clock.now)

    backend.notebooks[notebook.key].kernels = []
    clock.now += 60
    await warmed(main)
    assert (notebook.state, notebook.reason) == (State.GONE, Reason.IDLE)


async def test_one_that_gives_no_answer_is_reaped_as_idle(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    main = await warmed(pool(idle=60.0))
    notebook = main.assign(None)
    await backend._end(notebook.key)
    clock.now += 60
    await warmed(main)
    assert notebook.is_live, "one silence, as of a server that a computation starves, is confirmed by another"
    clock.now += 60
    await warmed(main)
    assert (notebook.state, notebook.reason) == (State.GONE, Reason.IDLE)


async def test_one_that_computes_and_once_gives_no_answer_goes_on(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    main = await warmed(pool(idle=60.0))
    notebook = main.assign(None)
    backend.notebooks[notebook.key].kernels = [{"execution_state": "busy"}]
    for _ in range(3):
        with monkeypatch.context() as starved:
            starved.setattr(jupyter, "_ASK_TIMEOUT", 0.0)
            clock.now += 60
            await warmed(main)
        clock.now += 60
        await warmed(main)
        assert (notebook.state, notebook.active_at) == (State.ASSIGNED, clock.now)


async def test_who_could_not_be_asked_is_not_idle_for_that(
    pool: Factory, clock: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    main = await warmed(pool(idle=60.0))
    notebook = main.assign(None)
    with monkeypatch.context() as exhausted, capture_logs() as logs:

        async def unasked() -> float | None:
            raise UnaskedError("no socket is left")

        exhausted.setattr(notebook.jupyter, "silent_for", unasked)
        for _ in range(5):
            clock.now += 60
            await warmed(main)
            assert notebook.is_live
    assert {line["event"] for line in logs} == {"kernels.query_failed"}
    await warmed(main)
    assert (notebook.state, notebook.reason) == (State.GONE, Reason.IDLE), "it says itself that nothing works in it"


async def test_a_question_that_fails_by_whatever_has_no_answer(
    pool: Factory, clock: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    main = await warmed(pool(idle=60.0))
    notebook = main.assign(None)

    async def fail() -> float | None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(notebook.jupyter, "silent_for", fail)
    clock.now += 60
    with capture_logs() as logs:
        await warmed(main)
    assert (notebook.is_live, notebook.unanswered) == (True, 1)
    assert [(line["event"], line["error"]) for line in logs] == [("kernels.query_failed", "RuntimeError: a bug")]


async def test_a_click_while_the_question_is_under_way_saves_it(pool: Factory, clock: Callable[[], float]) -> None:
    main = await warmed(pool(idle=60.0))
    notebook = main.assign(None)
    clock.now += 60
    main.tick()
    main.touch(notebook)
    await at_rest(main)
    assert notebook.is_live


async def test_a_click_that_came_after_the_question_is_asked_about_again(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    """An answer tells of the time at which it was asked for, not of when it came."""
    main = await warmed(pool(idle=60.0))
    notebook = main.assign(None)
    clock.now += 60
    main.tick()
    await asyncio.sleep(0)  # the question is under way
    clock.now += 3
    main.touch(notebook)
    clock.now += 4
    await at_rest(main)
    backend.notebooks[notebook.key].kernels = [{"execution_state": "busy"}]
    clock.now += 56
    await warmed(main)
    assert notebook.is_live


async def test_one_that_is_asked_already_is_not_asked_twice(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    main = await warmed(pool(idle=60.0))
    notebook = main.assign(None)
    fake = backend.notebooks[notebook.key]
    fake.kernels = [{"execution_state": "busy"}]
    clock.now += 60
    main.tick()
    main.tick()
    await at_rest(main)
    assert [line for line in fake.requests if "kernels" in line] == [
        f"GET /user/{notebook.key}/api/kernels?no_track_activity=1"
    ]


# Drain


async def test_drain_replaces_what_nobody_holds_and_leaves_sessions_alone(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=3, warm=2))
    held = main.assign(None)
    await at_rest(main)
    old = {n.key for n in main if n.state is State.WARM}

    assert main.drain() == 2
    await at_rest(main)

    fresh = {n.key for n in main if n.state is State.WARM}
    assert len(fresh) == 2
    assert fresh.isdisjoint(old)
    assert held.is_live
    assert set(backend.notebooks) == fresh | {held.key}


async def test_a_start_that_is_drained_leaves_nothing(pool: Factory, backend: FakeBackend) -> None:
    facts: list[Transition] = []
    backend.delay = 1e6
    main = pool(listeners=[facts.append], capacity=1, warm=1)
    main.tick()
    await until(lambda: backend.started == 1)

    assert main.drain() == 1
    backend.delay = 0.0
    await at_rest(main)

    assert story(facts) == [
        "starting > reaping: drained",
        "reaping > gone: drained",
        "starting > warm: ready",
    ]
    assert len(backend.notebooks) == 1


async def test_a_start_that_is_drained_before_it_began_gives_its_place_back(pool: Factory) -> None:
    main = pool(capacity=1, warm=1)
    main.tick()
    assert main.drain() == 1
    await at_rest(main)
    assert repr(main) == "<Pool main [1 warm] of 1>"


async def test_a_start_that_is_drained_at_any_moment_leaves_nothing(pool: Factory, backend: FakeBackend) -> None:
    for steps in range(1, 30):
        main = pool(capacity=1, warm=1)
        main.tick()
        for _ in range(steps):
            await asyncio.sleep(0)
        main.limits = replace(main.limits, warm=0)
        main.drain()
        await at_rest(main)
        assert (steps, repr(main)) == (steps, "<Pool main [empty] of 1>")
        assert (steps, backend.notebooks) == (steps, {})


# Editions


async def both(backend: FakeBackend) -> tuple[Edition, Edition]:
    other = await backend.prepare(replace(backend.spec, image="other"))
    return replace(backend.edition, weight=3.0), other


def warm_by_edition(main: Pool) -> dict[str, int]:
    return dict(Counter(notebook.edition for notebook in main if notebook.state is State.WARM))


async def test_two_editions_share_the_warm_ones_by_their_weights(pool: Factory, backend: FakeBackend) -> None:
    one, other = await both(backend)
    main = pool(capacity=12, warm=8, parallel_starts=2)
    main.serve([one, other])
    await warmed(main)
    assert warm_by_edition(main) == {one.id: 6, other.id: 2}
    assert {backend.notebooks[n.key].running.edition for n in main} == {one.id, other.id}
    for _ in range(4):
        main.assign(None)
        await at_rest(main)
        assert warm_by_edition(main) == {one.id: 6, other.id: 2}
    main.serve([replace(one, weight=1.0), other])
    await at_rest(main)
    assert warm_by_edition(main) == {one.id: 4, other.id: 4}


@pytest.mark.parametrize(("capacity", "least"), [(8, 6), (9, 7), (10, 8), (20, 8)])
async def test_a_roll_out_never_leaves_fewer_warm_ones_than_the_plan_says(
    pool: Factory, backend: FakeBackend, capacity: int, least: int
) -> None:
    one, other = await both(backend)
    main = await warmed(pool(capacity=capacity, warm=8, parallel_starts=2))
    seen, facts = [], []
    main.listen(lambda _fact: seen.append(main.count(State.WARM)))
    main.listen(facts.append)
    main.serve([other])
    await at_rest(main)
    assert warm_by_edition(main) == {other.id: 8}
    assert min(seen) >= least
    assert {fact.reason for fact in facts if fact.to is State.REAPING} == {Reason.DRAINED}
    assert {notebook.running.edition for notebook in backend.notebooks.values()} == {other.id}
    assert one.id == backend.edition.id


async def test_a_roll_out_leaves_sessions_alone_and_new_visitors_get_the_new_edition(
    pool: Factory, backend: FakeBackend
) -> None:
    _, other = await both(backend)
    main = await warmed(pool(capacity=6, warm=2, parallel_starts=1))
    held = main.assign("visitor")
    await at_rest(main)
    main.serve([other])
    await until(lambda: other.id in warm_by_edition(main))
    assert main.assign(None).edition == other.id
    await at_rest(main)
    assert (held.is_live, held.edition) == (True, backend.edition.id)
    assert warm_by_edition(main) == {other.id: 2}


async def test_a_roll_out_that_does_not_start_keeps_what_is_warm(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    _, other = await both(backend)
    main = await warmed(pool(capacity=6, warm=4, parallel_starts=2))
    backend.fail_next = 100
    main.serve([other])
    with capture_logs():
        for _ in range(10):
            await at_rest(main)
            clock.now += 60
            main.tick()
    assert warm_by_edition(main) == {backend.edition.id: 4}
    assert main.assign(None).edition == backend.edition.id


async def test_a_start_of_an_edition_that_is_no_longer_wanted_is_given_up(pool: Factory, backend: FakeBackend) -> None:
    _, other = await both(backend)
    facts: list[Transition] = []
    backend.delay = 1e6
    main = pool(listeners=[facts.append], capacity=2, warm=1)
    main.tick()
    await until(lambda: backend.started == 1)
    backend.delay = 0.0
    main.serve([other])
    await at_rest(main)
    assert story(facts)[:2] == ["starting > reaping: drained", "reaping > gone: drained"]
    assert warm_by_edition(main) == {other.id: 1}


# Adopting


def running(backend: FakeBackend, key: str) -> Running:
    return backend.notebooks[key].running


async def test_a_session_is_adopted_with_its_visitor_and_what_is_left_of_its_time(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    item = await backend.start("k" * 22)
    main = pool()
    notebook = main.adopt_session(item, visitor="visitor", expires_in=77.0)
    assert main.find("k" * 22) is notebook
    assert (notebook.visitor, notebook.expires_at, notebook.active_at) == ("visitor", clock.now + 77, clock.now)
    assert notebook.running is item


@pytest.mark.parametrize(
    ("lifetime", "left", "expires_in"), [(3600.0, None, 3600.0), (3600.0, -5.0, -5.0), (0.0, 50.0, None)]
)
async def test_how_long_an_adopted_session_has(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float], lifetime: float, left: float, expires_in: float
) -> None:
    main = pool(lifetime=lifetime)
    notebook = main.adopt_session(await backend.start("k" * 22), visitor=None, expires_in=left)
    assert notebook.expires_at == (None if expires_in is None else clock.now + expires_in)


async def test_a_session_that_expired_meanwhile_is_reaped_at_the_first_tick(
    pool: Factory, backend: FakeBackend
) -> None:
    main = pool(warm=0)
    notebook = main.adopt_session(await backend.start("k" * 22), visitor=None, expires_in=-1.0)
    await warmed(main)
    assert (notebook.state, notebook.reason) == (State.GONE, Reason.EXPIRED)


async def test_a_warm_one_that_answers_is_adopted_and_given_away(pool: Factory, backend: FakeBackend) -> None:
    item = await backend.start("k" * 22)
    main = pool()
    await main.adopt_warm(item)
    assert main.assign(None).key == "k" * 22


async def test_a_warm_one_that_could_not_be_asked_is_adopted(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unasked(_client: object) -> None:
        return None

    monkeypatch.setattr(jupyter.JupyterClient, "answers", unasked)
    main = pool(warm=1)
    await main.adopt_warm(await backend.start("k" * 22))
    assert (repr(main), backend.stopped) == ("<Pool main [1 warm] of 4>", [])


async def test_a_warm_one_that_does_not_answer_is_reaped(pool: Factory, backend: FakeBackend) -> None:
    facts: list[Transition] = []
    item = await backend.start("k" * 22)
    await backend._end("k" * 22)
    main = pool(listeners=[facts.append], warm=0)
    await main.adopt_warm(item)
    await at_rest(main)
    assert story(facts) == ["starting > reaping: lost", "reaping > gone: lost"]
    assert backend.stopped == ["k" * 22]


async def test_a_warm_one_that_is_drained_while_it_is_asked_is_not_given_away(
    pool: Factory, backend: FakeBackend
) -> None:
    item = await backend.start("k" * 22)
    main = pool(warm=0)
    adopting = asyncio.ensure_future(main.adopt_warm(item))
    await until(lambda: main.count(State.STARTING) == 1)
    main.drain()
    await adopting
    await at_rest(main)
    assert repr(main) == "<Pool main [empty] of 4>"
    assert backend.notebooks == {}


# Discarding


async def test_an_orphan_holds_a_place_until_it_could_be_stopped(pool: Factory, backend: FakeBackend) -> None:
    orphan = await backend.start("orphan")
    genuine, failures = backend.stop, [BackendError("busy")] * 2

    async def stop(key: str) -> None:
        if failures:
            raise failures.pop()
        await genuine(key)

    backend.stop = stop
    main = pool(capacity=2, warm=2)
    with capture_logs() as logs:
        main.discard(orphan, Reason.IDLE)
        main.tick()
        await until(lambda: not failures and main.count(State.WARM) == 1)
        assert main.count(State.REAPING) == 1
        await until(lambda: main.count(State.WARM) == 2)
    assert [line["event"] for line in logs] == ["stop.failed", "stop.failed", "orphan.stopped"]
    assert backend.stopped == ["orphan"]


# Closing


async def test_close_keeps_what_runs_for_the_next_service(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=3, warm=2))
    held = main.assign(None)
    await at_rest(main)
    await main.close(stop=False)
    assert repr(main) == "<Pool main [2 warm, 1 assigned] of 3>"
    assert len(backend.notebooks) == 3
    assert held.jupyter.session.closed


async def test_close_with_stop_ends_all_of_them(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=3, warm=2))
    held = main.assign(None)
    await at_rest(main)
    await main.close(stop=True)
    assert repr(main) == "<Pool main [empty] of 3>"
    assert backend.notebooks == {}
    assert held.reason is Reason.SHUTDOWN


@pytest.mark.parametrize("stop", [True, False])
async def test_a_start_under_way_is_cancelled_on_close_and_leaves_nothing(
    pool: Factory,
    backend: FakeBackend,
    stop: bool,  # noqa: FBT001
) -> None:
    backend.delay = 1e6
    main = pool()
    main.tick()
    await until(lambda: backend.started == 2)
    await main.close(stop=stop)
    assert repr(main) == "<Pool main [empty] of 4>"
    assert backend.notebooks == {}
    assert main._starting == {}


@pytest.mark.parametrize("stop", [True, False])
async def test_a_start_that_had_not_begun_leaves_nothing_on_close(
    pool: Factory,
    backend: FakeBackend,
    stop: bool,  # noqa: FBT001
) -> None:
    main = pool()
    main.tick()
    await main.close(stop=stop)
    assert repr(main) == "<Pool main [empty] of 4>"
    assert (backend.notebooks, main._starting) == ({}, {})


async def test_a_closed_pool_starts_nothing_more(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool())
    await main.close(stop=True)
    main.tick()
    main.wake()
    await asyncio.sleep(0)
    assert repr(main) == "<Pool main [empty] of 4>"
    assert backend.started == 2


async def test_a_tick_that_was_due_when_the_pool_closed_does_not_run_into_its_end(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    facts: list[Transition] = []
    main = await warmed(pool(listeners=[facts.append], capacity=3, warm=2, lifetime=100.0))
    main.assign(None)
    await at_rest(main)
    clock.now += 100
    main.wake()

    await main.close(stop=False)
    told = len(facts)

    for _ in range(100):
        await asyncio.sleep(0)
    assert (len(facts), main._work) == (told, set())


async def test_close_leaves_no_mark_that_is_being_set_and_no_try_that_is_to_come(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    main = await warmed(pool(capacity=2, warm=1))

    async def hang(_key: str) -> None:
        await asyncio.sleep(1e6)

    backend.give = hang
    backend.fail_next = 1
    with capture_logs():
        main.assign("visitor")
        await at_rest(main)
    (marking,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("mark ")]
    next_try = main._sleeper
    assert next_try is not None
    await main.close(stop=False)
    assert marking.cancelled()
    assert next_try.cancelled()


async def test_a_closed_pool_leaves_what_runs_to_the_next_service(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=2, warm=1))
    held, stranger = main.assign("visitor"), await backend.start("s" * 22)
    await at_rest(main)
    await main.close(stop=False)
    was, given = repr(main), set(backend.given)
    backend.given.clear()
    main.reap(held, Reason.LOST)
    main.drain()
    main.discard(stranger, Reason.SURPLUS)
    assert main.adopt_session(stranger, visitor=None, expires_in=None) is None
    assert await main.adopt_warm(stranger) is None
    main.marks.set(held)
    assert (repr(main), main._work, main.marks._tasks) == (was, set(), {})
    assert (given, backend.given, backend.stopped) == ({held.key}, set(), [])


@pytest.mark.parametrize("is_hung", [True, False])
async def test_a_pool_that_keeps_its_notebooks_waits_for_its_starts_and_not_long_for_its_stops(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, *, is_hung: bool
) -> None:
    """The next service stops what was being stopped; of what a start has made it knows nothing."""
    monkeypatch.setattr(pool_module, "_PARTING", 0.05)
    main = await warmed(pool(capacity=2, warm=1))
    ended, cleaned = main.assign(None), asyncio.Event()

    async def start(_key: str, _edition: Edition) -> Running:
        try:
            await asyncio.Event().wait()
            raise AssertionError
        finally:
            await asyncio.sleep(0.3)
            cleaned.set()

    monkeypatch.setattr(backend, "start", start)
    backend.stop_delay = 1e6 if is_hung else 0.0
    main.reap(ended, Reason.ENDED)
    main.tick()
    await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        await main.close(stop=False)
    assert (cleaned.is_set(), main._work) == (True, set())
    assert ended.state is (State.REAPING if is_hung else State.GONE)


async def test_close_waits_no_longer_than_its_grace_for_an_ill_backend(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    backend.is_ill = True
    await main.close(stop=True, grace=0.01)
    assert repr(main) == "<Pool main [1 reaping] of 1>"
    assert main._work == set()


# Whatever happens, in whatever order


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes when a rule says so."""

    now = 1000.0

    def time(self) -> float:
        return self.now


class Scripted:
    """A backend in memory that is ill, slow or unlucky when told to; its notebooks answer ``silent_for`` themselves."""

    def __init__(self) -> None:
        self.running: dict[str, Running] = {}
        self.stopping: set[str] = set()
        self.busy: set[str] = set()
        self.is_ill = self.starts_are_slow = self.stops_are_slow = self.asks_are_slow = False
        self.failures = 0
        self.lies = 0
        self.given: set[str] = set()
        self.gates: list[asyncio.Future[None]] = []

    async def gate(self, is_slow: bool) -> None:  # noqa: FBT001
        if is_slow:
            waiting = asyncio.get_running_loop().create_future()
            self.gates.append(waiting)
            try:
                await waiting
            finally:
                self.gates.remove(waiting)

    async def start(self, key: str, edition: Edition) -> Running:
        assert key not in self.running
        await self.gate(self.starts_are_slow)
        await self.ping()
        if self.failures:
            self.failures -= 1
            raise StartError("unlucky")
        self.running[key] = Running(key, Dial("127.0.0.1", 1), "", time.time(), edition=edition.id)
        return self.running[key]

    async def stop(self, key: str) -> None:
        self.stopping.add(key)
        await self.gate(self.stops_are_slow)
        await self.ping()
        self.running.pop(key, None)
        self.stopping.discard(key)

    async def give(self, key: str) -> None:
        await self.ping()
        self.given.add(key)

    async def death(self, key: str) -> Death:
        del key
        return Death.UNKNOWN

    async def list(self, known: Collection[str] = ()) -> list[Running]:
        del known
        await self.ping()
        if self.lies:
            self.lies -= 1
            return []
        return [
            replace(item, given=Given.YES if item.key in self.given else Given.NO) for item in self.running.values()
        ]

    async def ping(self) -> None:
        await asyncio.sleep(0)
        if self.is_ill:
            raise BackendError("ill")


EDITIONS = [Edition(name, name, spec_of("fake", name), weight=weight) for name, weight in (("one", 3.0), ("two", 1.0))]


class ScriptedJupyter:
    backend: Scripted
    is_jupyter = None

    def __init__(self, running: Running) -> None:
        self.running = running

    async def answers(self) -> bool:
        await self.backend.gate(self.backend.asks_are_slow)
        return self.running.key in self.backend.running

    async def shows_life(self) -> bool:
        await asyncio.sleep(0)
        return self.running.key in self.backend.running

    async def recognise(self) -> None:
        await self.backend.gate(self.backend.asks_are_slow)

    async def silent_for(self) -> float | None:
        if not await self.answers():
            raise BackendError("no answer")
        return 0.0 if self.running.key in self.backend.busy else None

    async def close(self) -> None:
        await asyncio.sleep(0)


class Remembered:
    """What the ledger would say."""

    def __init__(self, known: dict[str, Row], *, is_trusted: bool) -> None:
        self.known = known
        self.is_trusted = is_trusted

    def now(self) -> float:
        return time.time()

    def wall_of(self, at: float) -> float:
        return at

    def rows(self) -> dict[str, Row]:
        return self.known

    async def end_row(self, key: str, reason: Reason) -> None: ...


class PoolMachine(RuleBasedStateMachine):
    """``given`` says which visitor got which notebook, restarts of the service included.

    ``ended_falsely`` holds those that were called dead while they ran.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.backend = ScriptedJupyter.backend = Scripted()
        self.logs = capture_logs()
        self.seen = self.logs.__enter__()
        self.facts: list[Transition] = []
        self.given: dict[str, int] = {}
        self.dead: set[str] = set()
        self.ended_falsely: list[Transition] = []
        self.backups: list[dict[str, Row]] = []
        self.visitors = 0

    @initialize(capacity=st.integers(1, 5), warm=st.integers(0, 5), parallel=st.integers(1, 3))
    def open(self, capacity: int, warm: int, parallel: int) -> None:
        self.limits = Limits(capacity, min(warm, capacity), 60.0, 300.0, parallel)
        self.editions = EDITIONS[:1]
        self.pool = self.make()
        self.pool.open()

    def make(self) -> Pool:
        self.facts.clear()  # an adopted notebook begins anew
        made = Pool(
            "main", self.backend, self.editions, self.limits, [self.hear], self.loop.time, connect=ScriptedJupyter
        )
        made.starts.backoff.jitter = random.Random(0)
        self.reconciler = Reconciler(made)
        return made

    def hear(self, fact: Transition) -> None:
        self.facts.append(fact)
        if fact.reason in UNDECIDED and fact.to is State.REAPING and fact.notebook.key in self.backend.running:
            self.ended_falsely.append(fact)

    def run(self, work: Coroutine[object, object, object], *, seconds: float = 0.0) -> object:
        """Do this while time passes in small steps, for as long as it takes beyond ``seconds``."""

        async def drive() -> object:
            task = asyncio.get_running_loop().create_task(work)
            until = self.loop.now + seconds
            for _ in range(10_000):
                for _ in range(10):
                    await asyncio.sleep(0)
                if task.done() and self.loop.now >= until:
                    return await task
                self.loop.now += 0.5
            raise AssertionError("it never ends")

        return self.loop.run_until_complete(drive())

    def steps(self, count: int) -> None:
        async def pause() -> None:
            for _ in range(count):
                await asyncio.sleep(0)

        self.loop.run_until_complete(pause())

    def call(self, function: Callable[[], object]) -> object:
        async def inside() -> object:
            return function()

        return self.loop.run_until_complete(inside())

    def chosen(self, number: int, *states: State) -> Notebook | None:
        found = [notebook for notebook in self.pool if notebook.state in states]
        return found[number % len(found)] if found else None

    # What visitors do

    @rule()
    def click(self) -> None:
        """As the service does it: who is given a notebook that cannot be marked does not enter."""
        notebook = self.call(self.clicked)
        if notebook is None:
            return
        if self.run(self.pool.marks.is_set(notebook)):
            self.given[notebook.key] = self.visitors
        else:
            self.call(lambda: self.pool.reap(notebook, Reason.FAILED))

    def clicked(self) -> Notebook | None:
        self.visitors += 1
        in_use = self.pool.count(State.ASSIGNED) + self.pool.count(State.REAPING)
        has_warm = any(n.state is State.WARM and n.key not in self.pool.doubted for n in self.pool)
        try:
            notebook = self.pool.assign(str(self.visitors))
        except NoNotebookError as error:
            assert not has_warm
            assert (error.cause is Shortage.FULL) == (in_use >= self.limits.capacity)  # noqa: PT017
            assert error.retry_after >= 1  # noqa: PT017
        else:
            assert has_warm
            assert notebook.key not in self.given, "given away twice"
            assert notebook.key not in self.dead, "given away though known to be dead"
            return notebook
        return None

    @rule(number=st.integers(0, 9))
    def interact(self, number: int) -> None:
        if notebook := self.chosen(number, State.ASSIGNED):
            self.pool.touch(notebook)

    @rule(number=st.integers(0, 9))
    def compute(self, number: int) -> None:
        if notebook := self.chosen(number, State.ASSIGNED):
            self.backend.busy ^= {notebook.key}

    @rule(number=st.integers(0, 9))
    def end(self, number: int) -> None:
        def ended() -> None:
            if notebook := self.chosen(number, State.ASSIGNED):
                self.pool.reap(notebook, Reason.ENDED)

        self.call(ended)

    # What the operator and the timer do

    @rule()
    def tick(self) -> None:
        self.call(self.pool.tick)

    @rule()
    def drain(self) -> None:
        def drained() -> None:
            sessions = [n for n in self.pool if n.is_live]
            self.pool.drain()
            assert self.pool.count(State.WARM) == self.pool.count(State.STARTING) == 0
            assert all(n.is_live for n in sessions)

        self.call(drained)

    @rule(editions=st.sampled_from([EDITIONS[:1], EDITIONS[1:], EDITIONS]))
    def roll_out(self, editions: list[Edition]) -> None:
        self.editions = editions
        self.call(lambda: self.pool.serve(editions))

    @rule()
    def reconcile(self) -> None:
        async def reconciled() -> None:
            held = {n.key for n in self.pool if n.state in (State.WARM, State.ASSIGNED)}
            await self.reconciler.look()
            if not self.backend.is_ill:
                self.dead |= held - self.backend.running.keys()

        self.run(reconciled())

    @rule(seconds=st.sampled_from([0.5, 5, 30, 61, 400]))
    def pass_time(self, seconds: float) -> None:
        self.loop.now += seconds

    @rule(count=st.integers(1, 6))
    def work(self, count: int) -> None:
        self.steps(count)

    # What goes wrong

    @rule(number=st.integers(0, 9), is_told=st.booleans())
    def die(self, number: int, is_told: bool) -> None:  # noqa: FBT001
        def died() -> None:
            if notebook := self.chosen(number, State.WARM, State.ASSIGNED):
                self.backend.running.pop(notebook.key, None)
                if is_told:
                    self.dead.add(notebook.key)
                    self.reconciler.doubt(notebook.key)

        self.call(died)

    @rule(number=st.integers(0, 9))
    def be_said_to_have_died(self, number: int) -> None:
        def said() -> None:
            if notebook := self.chosen(number, State.WARM, State.ASSIGNED):
                self.reconciler.doubt(notebook.key)

        self.call(said)

    @rule(count=st.integers(1, 3))
    def lie(self, count: int) -> None:
        """The next lists of what runs are empty."""
        self.backend.lies = count

    @rule(count=st.integers(1, 3))
    def be_unlucky(self, count: int) -> None:
        self.backend.failures = count

    @rule(what=st.sampled_from(["is_ill", "starts_are_slow", "stops_are_slow", "asks_are_slow"]), value=st.booleans())
    def turn(self, what: str, value: bool) -> None:  # noqa: FBT001
        setattr(self.backend, what, value)

    @rule(number=st.integers(0, 9))
    def open_gate(self, number: int) -> None:
        waiting = [gate for gate in self.backend.gates if not gate.done()]
        if waiting:
            waiting[number % len(waiting)].set_result(None)

    def written(self) -> dict[str, Row]:
        """What the ledger holds now."""
        rows = {}
        for n in self.pool:
            if n.state in (State.WARM, State.ASSIGNED):
                rows[n.key] = Row(n.key, "main", n.state, n.visitor, None, None, None)
            elif n.state is State.REAPING and n.visitor is not None:
                rows[n.key] = Row(n.key, "main", n.state, n.visitor, None, 1.0, n.reason)
        return rows

    @rule()
    def back_up(self) -> None:
        self.backups.append(self.written())

    @rule()
    def restart(self) -> None:
        """The service ends and the next one adopts what runs, by what was written down."""
        self.run(self.pool.close(stop=False, grace=1.0))
        self.open_again(self.written())

    @rule(number=st.integers(0, 9))
    def restart_with_another_ledger(self, number: int) -> None:
        """An older one was restored, or there is none: what runs has to say for itself what it is."""
        self.recover()
        self.run(asyncio.sleep(10))  # marks that could not be set are tried again meanwhile
        self.run(self.pool.close(stop=False, grace=1.0))
        held = {n.key for n in self.pool if n.is_live} & self.backend.running.keys()
        backups = [{}, *self.backups]
        self.open_again(backups[number % len(backups)], is_trusted=number % len(backups) > 0)
        assert held <= {n.key for n in self.pool if n.is_live}, "a session that ran was lost"

    def open_again(self, rows: dict[str, Row], *, is_trusted: bool = True) -> None:
        self.recover()
        # A list that lacks nothing that should run is not doubted; what it hides is stopped when its grace is over.
        self.backend.lies = min(self.backend.lies, any(row.ended_at is None for row in rows.values()))
        self.pool = self.make()
        pools = Pools()
        pools.add(self.pool)
        self.run(recovery.adopt(pools, Remembered(rows, is_trusted=is_trusted)))

    def recover(self) -> None:
        """The backend is well and quick again, and whatever waited goes on."""
        self.backend.is_ill = self.backend.starts_are_slow = False
        self.backend.stops_are_slow = self.backend.asks_are_slow = False
        self.backend.failures = 0
        for gate in self.backend.gates:
            if not gate.done():
                gate.set_result(None)

    # What holds all the time

    @invariant()
    def no_more_places_are_held_than_there_are(self) -> None:
        if hasattr(self, "pool"):
            assert sum(place.state is not State.GONE for place in self.pool.places) <= self.limits.capacity

    @invariant()
    def no_illegal_move_was_tried(self) -> None:
        assert [line for line in self.seen if line["event"] in ("task.failed", "start.crashed")] == []

    @invariant()
    def every_fact_continues_the_one_before(self) -> None:
        last: dict[str, State] = {}
        for fact in self.facts:
            assert last.get(fact.notebook.key, State.STARTING) is fact.was
            last[fact.notebook.key] = fact.to

    @invariant()
    def whatever_runs_is_in_the_table_or_being_stopped(self) -> None:
        if hasattr(self, "pool"):
            assert self.backend.running.keys() <= {place.key for place in self.pool.places} | self.backend.stopping

    @invariant()
    def nothing_known_to_be_dead_is_offered(self) -> None:
        if hasattr(self, "pool"):
            offered = {n.key for n in self.pool if n.state is State.WARM} - self.pool.doubted
            assert self.dead.isdisjoint(offered)

    @invariant()
    def nothing_that_runs_is_called_dead(self) -> None:
        assert [fact for fact in self.ended_falsely if fact.was is State.ASSIGNED] == []

    def teardown(self) -> None:
        try:
            if hasattr(self, "pool"):
                self.ends_well()
        finally:
            self.logs.__exit__(None, None, None)
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    def ends_well(self) -> None:
        """After all that trouble every place can be used again, and a stop leaves nothing."""
        self.recover()
        self.backend.lies = 0
        self.run(self.reconciler.look(), seconds=100.0)
        for _ in range(10):
            self.call(self.pool.tick)
            self.run(asyncio.sleep(0), seconds=1.0)
        sessions = self.pool.count(State.ASSIGNED)
        ready = min(self.limits.warm, self.limits.capacity - sessions)
        assert (self.pool.count(State.WARM), len(self.pool.places)) == (ready, ready + sessions)
        weights = {edition.id: edition.weight for edition in self.editions}
        warm = Counter(place.edition for place in self.pool.places if place.state is State.WARM)
        if ready == 1 == self.limits.capacity - sessions:
            return  # the last warm one never leaves its place to one that may not start, whatever its edition
        assert warm == {edition: share for edition, share in shares(ready, weights).items() if share}
        self.run(self.pool.close(stop=True))
        assert (self.pool.places, self.backend.running, self.pool._work) == ([], {}, set())
        self.no_illegal_move_was_tried()


TestWhateverHappens = PoolMachine.TestCase
TestWhateverHappens.settings = settings(
    settings.get_profile("tmppool"), max_examples=250, stateful_step_count=50, report_multiple_bugs=False
)
