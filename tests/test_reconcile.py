"""What a backend says is doubted until a second word agrees: no session ends by one false list or event."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from tests.test_pool import at_rest, marked, story, until, warmed
from tmppool import reconcile
from tmppool.backends.fake import FakeBackend
from tmppool.errors import BackendError, NoNotebookError
from tmppool.jupyter import JupyterClient, Knock
from tmppool.notebook import BY_DEATH, REVOCABLE, Notebook, Reason, State, Transition
from tmppool.pool import Pool
from tmppool.reconcile import Finding, Reconciler, finding, is_certain, is_mass_loss
from tmppool.running import Death, Given, Paused, Running
from tmppool.starts import Trouble

Factory = Callable[..., Pool]


async def said_to_have_died(main: Pool, key: str) -> None:
    Reconciler(main).doubt(key)
    await at_rest(main)


# Who is said to have died


async def test_one_that_died_while_warm_is_never_given_away(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=2, warm=2))
    first, second = main
    await backend.kill(first.key)
    Reconciler(main).doubt(first.key)

    assert main.assign(None) is second
    with pytest.raises(NoNotebookError):
        main.assign(None)
    await at_rest(main)
    assert (first.state, first.reason) == (State.GONE, Reason.DIED)


async def test_one_that_died_while_assigned_is_gone_and_closes_its_tunnels(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    notebook, closed = main.assign("visitor"), []
    notebook.on_close.add(lambda: closed.append(1))

    await backend.kill(notebook.key)
    await said_to_have_died(main, notebook.key)

    assert closed == [1]
    assert main.find(notebook.key) is None
    assert (notebook.state, notebook.reason) == (State.GONE, Reason.DIED)
    assert backend.stopped == [notebook.key]


async def test_one_that_is_found_dead_while_the_service_ends_is_left_to_the_next(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    (notebook,) = main
    asked, answer = asyncio.Event(), asyncio.Event()

    async def death(_key: str) -> Death:
        asked.set()
        await answer.wait()
        return Death.EXITED

    monkeypatch.setattr(backend, "death", death)
    await backend.kill(notebook.key)
    Reconciler(main).doubt(notebook.key)
    await asked.wait()
    closing = asyncio.ensure_future(main.close(stop=False))
    await asyncio.sleep(0)
    answer.set()
    await closing
    assert (notebook.state, backend.stopped) == (State.WARM, [])


@pytest.mark.parametrize("state", [State.WARM, State.ASSIGNED])
async def test_one_that_answers_has_not_died_whatever_the_backend_says(
    pool: Factory, backend: FakeBackend, state: State
) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    notebook = main.assign("visitor") if state is State.ASSIGNED else next(iter(main))
    backend.unlisted = 9
    with capture_logs() as logs:
        await said_to_have_died(main, notebook.key)
    assert (notebook.state, main.doubted, backend.stopped) == (state, set(), [])
    assert [line["event"] for line in logs] == ["death.disproved"]
    if state is State.WARM:
        assert main.assign(None) is notebook


@pytest.mark.parametrize("is_alive", [True, False])
async def test_one_that_could_not_be_asked_is_doubted_until_it_can_be(
    pool: Factory,
    backend: FakeBackend,
    monkeypatch: pytest.MonkeyPatch,
    is_alive: bool,  # noqa: FBT001 - a column of the table
) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    (notebook,) = main
    backend.unlisted = 9
    with monkeypatch.context() as exhausted:

        async def unasked() -> None:
            return None

        exhausted.setattr(notebook.jupyter, "shows_life", unasked)
        await said_to_have_died(main, notebook.key)
        assert (notebook.state, main.doubted) == (State.WARM, {notebook.key})
    if not is_alive:
        await backend._end(notebook.key)
    with capture_logs():
        await Reconciler(main).look()
    assert (notebook.state is State.WARM, main.doubted) == (is_alive, set())


async def test_one_that_takes_a_question_and_does_not_answer_is_alive(pool: Factory, backend: FakeBackend) -> None:
    """As a paused container does, or a server that is too busy."""
    main = await warmed(pool(capacity=1, warm=1))
    notebook = main.assign("visitor")
    fake = backend.notebooks[notebook.key]
    async with silent_server() as port:
        await notebook.jupyter.close()
        dial = replace(fake.running.dial, port=port)
        notebook.jupyter = JupyterClient(replace(fake.running, dial=dial))
        backend.unlisted = 9
        with capture_logs():
            await said_to_have_died(main, notebook.key)
        assert notebook.is_live


def silent_server() -> "_Silent":
    return _Silent()


class _Silent:
    async def __aenter__(self) -> int:
        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        self._server = await asyncio.start_server(hear, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def __aexit__(self, *_about: object) -> None:
        self._server.close()


async def test_one_that_is_silent_but_still_listed_keeps_its_visitor(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=2, warm=1))
    held = main.assign("visitor")
    await at_rest(main)
    warm = next(n for n in main if n.state is State.WARM)
    for notebook in (held, warm):
        await backend.notebooks[notebook.key].runner.cleanup()
    reconciler = Reconciler(main)
    reconciler.doubt(held.key)
    reconciler.doubt(warm.key)
    await until(lambda: not main.doubted)
    assert held.is_live
    assert warm.state is not State.WARM  # nobody's: another one is better


async def test_one_that_dies_while_it_is_found_out_that_it_had_not_is_not_given_away(
    pool: Factory, backend: FakeBackend
) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    (notebook,) = main
    reconciler = Reconciler(main)
    genuine, asked = notebook.jupyter.shows_life, []

    async def dies_once_it_has_answered() -> bool:
        alive = await genuine()
        if not asked:
            await backend._end(notebook.key)
            reconciler.doubt(notebook.key)
        asked.append(alive)
        return alive

    notebook.jupyter.shows_life = dies_once_it_has_answered
    reconciler.doubt(notebook.key)
    while asked != [True, False]:
        assert notebook.key in main.doubted
        await asyncio.sleep(0)
    await until(lambda: notebook.state is State.GONE)
    assert notebook.reason is Reason.LOST


async def test_while_the_backend_is_ill_nobody_is_lost_and_nobody_gets_a_doubtful_one(
    pool: Factory, backend: FakeBackend
) -> None:
    main = await warmed(pool(capacity=2, warm=2))
    held = main.assign("visitor")
    await main.marks.close()
    (warm,) = [n for n in main if n.state is State.WARM]
    for notebook in (held, warm):
        await backend._end(notebook.key)
    backend.is_ill = True
    reconciler = Reconciler(main)
    with capture_logs():
        reconciler.doubt(held.key)
        reconciler.doubt(warm.key)
        await at_rest(main)
    assert (held.state, warm.state) == (State.ASSIGNED, State.WARM)
    with pytest.raises(NoNotebookError):
        main.assign("another")

    backend.is_ill = False
    with capture_logs():
        await reconciler.look()
    assert {held.reason, warm.reason} == {Reason.LOST}


async def test_a_death_is_counted_once_and_a_strangers_death_not_at_all(pool: Factory, backend: FakeBackend) -> None:
    facts: list[Transition] = []
    main = await warmed(pool(listeners=[facts.append], capacity=1, warm=1))
    (notebook,) = main
    facts.clear()
    await backend._end(notebook.key)
    reconciler = Reconciler(main)
    reconciler.doubt("x" * 22)
    for _ in range(3):
        reconciler.doubt(notebook.key)
    await until(lambda: notebook.state is State.GONE)
    reconciler.doubt(notebook.key)
    await at_rest(main)
    assert story([fact for fact in facts if fact.notebook is notebook]) == [
        "warm > reaping: lost",
        "reaping > gone: lost",
    ]


async def test_a_death_during_the_start_is_left_to_the_start(pool: Factory) -> None:
    main = pool(capacity=1, warm=1)
    main.tick()
    (place,) = main.places
    await said_to_have_died(main, place.key)
    assert [(notebook.key, notebook.state) for notebook in main] == [(place.key, State.WARM)]


async def test_a_death_that_is_found_out_while_the_service_ends_is_left_to_the_next(
    pool: Factory, backend: FakeBackend
) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    notebook = main.assign("visitor")
    await backend._end(notebook.key)
    Reconciler(main).doubt(notebook.key)
    await main.close(stop=False)
    assert notebook.is_live


WARM, ASSIGNED = State.WARM, State.ASSIGNED
JUDGED: list[tuple[State, dict[str, bool], Finding]] = [
    *((state, {"is_listed": False, "is_last": last}, Finding.DEAD) for state in (WARM, ASSIGNED) for last in (False, True)),
    *((state, {"is_listed": True, "is_last": False}, Finding.OPEN) for state in (WARM, ASSIGNED)),
    (WARM, {"is_listed": True, "is_last": True}, Finding.DEAD),
    (ASSIGNED, {"is_listed": True, "is_last": True}, Finding.SPARED),
    *((state, {"is_listed": True, "is_last": last, "is_paused": True}, Finding.SPARED) for state in (WARM, ASSIGNED) for last in (False, True)),
    (WARM, {"is_listed": False, "is_last": False, "is_paused": True}, Finding.DEAD),
    *((state, {"is_listed": False, "is_last": last, "is_mass_loss": True}, Finding.DOUBTED) for state in (WARM, ASSIGNED) for last in (False, True)),
    (ASSIGNED, {"is_listed": True, "is_last": False, "is_mass_loss": True}, Finding.OPEN),
]  # fmt: skip


@pytest.mark.parametrize(("state", "facts", "expected"), JUDGED)
def test_a_silent_notebook_is_judged_by_its_state_and_the_list(
    state: State, facts: dict[str, bool], expected: Finding
) -> None:
    assert finding(state, **facts) is expected


@pytest.mark.parametrize(
    ("missing", "members", "expected"),
    [(0, 0, False), (1, 1, False), (2, 2, False), (3, 3, True), (3, 6, True), (3, 7, False), (50, 100, True)],
)
def test_many_at_once_are_a_mass_loss(missing: int, members: int, *, expected: bool) -> None:
    assert is_mass_loss(missing, members) is expected


@pytest.mark.parametrize(
    ("death", "is_told", "expected"),
    [
        (Death.EXITED, False, True),
        (Death.KILLED, False, True),
        (Death.OUT_OF_MEMORY, False, True),
        (Death.REMOVED, False, False),
        (Death.REMOVED, True, True),
        (Death.UNKNOWN, True, False),
    ],
)
def test_an_end_is_certain_if_it_was_seen(death: Death, *, is_told: bool, expected: bool) -> None:
    assert is_certain(death, is_told=is_told) is expected


@pytest.mark.parametrize("death", Death)
async def test_the_reason_is_what_the_backend_saw(pool: Factory, backend: FakeBackend, death: Death) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    notebook = main.assign("visitor")
    await backend.kill(notebook.key, death)
    await said_to_have_died(main, notebook.key)
    assert (notebook.state, notebook.reason) == (State.GONE, BY_DEATH[death])


async def test_what_the_service_ends_keeps_the_services_reason(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    notebook = main.assign("visitor")
    main.reap(notebook, Reason.IDLE)
    await backend.kill(notebook.key, Death.KILLED)
    await said_to_have_died(main, notebook.key)
    assert notebook.reason is Reason.IDLE


# A mass loss


async def lost_at_once(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, death: Death
) -> tuple[Pool, Reconciler, list[Notebook]]:
    """Return four sessions that ended so, after a list that lacks them, and before they are looked for longer."""
    main = await warmed(pool(capacity=4, warm=4))
    held = [main.assign("visitor") for _ in range(4)]
    await main.marks.close()
    for notebook in held:
        await backend._end(notebook.key)
        backend.ended[notebook.key] = death
    monkeypatch.setattr(reconcile, "_MASS_LOOKS", (0.01, 0.01))
    reconciler = Reconciler(main)
    await reconciler.look()
    return main, reconciler, held


@pytest.mark.parametrize("death", [Death.UNKNOWN, Death.REMOVED])
async def test_a_mass_loss_that_nobody_saw_is_doubted_longer(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, death: Death
) -> None:
    main, _, held = await lost_at_once(pool, backend, monkeypatch, death)
    assert [notebook.state for notebook in held] == [State.ASSIGNED] * 4
    assert main.doubted == {notebook.key for notebook in held}
    await until(lambda: not main.doubted)
    assert {notebook.reason for notebook in held} == {BY_DEATH[death]}


def test_it_is_doubted_for_at_least_ten_seconds_and_several_looks() -> None:
    assert sum(reconcile._MASS_LOOKS) >= 10
    assert len(reconcile._MASS_LOOKS) >= 3


async def test_many_that_were_seen_to_exit_are_known_at_once(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, held = await lost_at_once(pool, backend, monkeypatch, Death.KILLED)
    assert {notebook.reason for notebook in held} == {Reason.KILLED}


async def test_one_of_many_that_is_told_to_be_removed_is_known_at_once(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, reconciler, held = await lost_at_once(pool, backend, monkeypatch, Death.REMOVED)
    watching = asyncio.ensure_future(reconciler.watch())
    monkeypatch.setattr(reconcile, "_MASS_LOOKS", ())
    backend._dead.put_nowait(held[0].key)
    await until(lambda: not held[0].is_live)
    assert held[0].reason is Reason.REMOVED
    await until(lambda: not main.doubted)
    watching.cancel()


async def test_of_a_mass_loss_those_that_show_life_again_go_on(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, _, held = await lost_at_once(pool, backend, monkeypatch, Death.UNKNOWN)

    async def alive() -> bool:
        return True

    for notebook in held[:2]:
        notebook.jupyter.shows_life = alive
    with capture_logs() as logs:
        await until(lambda: not main.doubted)
    assert [notebook.is_live for notebook in held] == [True, True, False, False]
    assert [line["event"] for line in logs if line["event"] == "death.disproved"] == ["death.disproved"] * 2


async def test_a_mass_loss_that_the_backend_cannot_be_asked_about_waits_for_the_next_look(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, reconciler, held = await lost_at_once(pool, backend, monkeypatch, Death.UNKNOWN)
    backend.is_ill = True
    with capture_logs():
        await until(lambda: not main._work)
    assert all(notebook.is_live for notebook in held)
    assert main.doubted == {notebook.key for notebook in held}
    backend.is_ill = False
    with capture_logs():
        await reconciler.look()
    assert all(notebook.is_live for notebook in held)  # it began anew
    await until(lambda: not main.doubted)
    assert {notebook.reason for notebook in held} == {Reason.LOST}


async def test_one_of_a_mass_loss_that_is_ended_meanwhile_keeps_no_other_from_being_looked_for(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, _, held = await lost_at_once(pool, backend, monkeypatch, Death.UNKNOWN)
    main.reap(held[0], Reason.ENDED)
    await until(lambda: not main.doubted)
    assert [notebook.reason for notebook in held] == [Reason.ENDED, *[Reason.LOST] * 3]


async def test_a_mass_loss_that_could_not_be_looked_for_is_looked_for_again(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, reconciler, held = await lost_at_once(pool, backend, monkeypatch, Death.UNKNOWN)

    async def death(_key: str) -> Death:
        raise MemoryError

    with monkeypatch.context() as failing, capture_logs():
        failing.setattr(backend, "death", death)
        await until(lambda: not main._work)
    assert all(notebook.is_live for notebook in held)
    await reconciler.look()
    await until(lambda: not main.doubted)
    assert {notebook.reason for notebook in held} == {Reason.LOST}


# Paused


async def test_a_pause_is_noted_from_events_and_lists(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=2, warm=2))
    first, second = main
    reconciler = Reconciler(main)
    watching = asyncio.ensure_future(reconciler.watch())
    backend.pause(first.key)
    await until(lambda: first.is_paused)
    assert main.assign("visitor") is second
    with pytest.raises(NoNotebookError):
        main.assign("another")
    backend.pause(first.key, is_paused=False)
    await until(lambda: not first.is_paused)
    watching.cancel()
    backend.notebooks[second.key].running = replace(running(backend, second.key), is_paused=True)
    await reconciler.look()
    assert second.is_paused


async def test_what_is_told_during_a_look_is_heard_and_looked_after_again(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    (notebook,) = main
    watching = asyncio.ensure_future(Reconciler(main).watch())
    release, genuine, looks = asyncio.Event(), backend.list, 0

    async def slow(known: Collection[str] = ()) -> list[Running]:
        nonlocal looks
        looks += 1
        await release.wait()
        return await genuine(known)

    backend.list = slow
    backend._dead.put_nowait(None)
    await until(lambda: looks == 1)
    backend.pause(notebook.key)
    backend._dead.put_nowait(None)
    await until(lambda: notebook.is_paused)
    assert looks == 1
    release.set()
    await until(lambda: looks == 2)
    watching.cancel()


async def test_a_list_that_is_older_than_an_event_does_not_count(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    (notebook,) = main
    reconciler = Reconciler(main)
    watching = asyncio.ensure_future(reconciler.watch())
    genuine = backend.list

    async def slow(known: Collection[str] = ()) -> list[Running]:
        found = await genuine(known)
        backend.pause(notebook.key)
        await until(lambda: notebook.is_paused)
        return found

    backend.list = slow
    await reconciler.look()
    assert notebook.is_paused
    watching.cancel()


async def test_one_that_answers_is_not_paused_whatever_the_backend_says(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    held = main.assign("visitor")
    reconciler = Reconciler(main)
    backend.pause(held.key)
    await reconciler.look()
    assert held.is_paused
    backend.notebooks[held.key].running = replace(running(backend, held.key), is_paused=False)  # and no event says so
    await until(lambda: not held.is_paused)
    backend.pause(held.key)
    await reconciler.look()
    assert held.is_paused
    await main.close(stop=True)
    assert held.state is State.GONE


@pytest.mark.parametrize("given", [Given.YES, Given.NO])
async def test_one_that_is_adopted_as_paused_goes_on_as_soon_as_it_answers(
    pool: Factory, backend: FakeBackend, given: Given
) -> None:
    """Whether the backend was wrong or its operator continues it: nobody looks at a list, and no event comes."""
    paused = replace(await backend.start("k" * 22), is_paused=True, given=given)
    backend.notebooks[paused.key].running = paused
    main = pool(capacity=1, warm=1)
    Reconciler(main)
    if given is Given.YES:
        main.adopt_session(paused, visitor="visitor", expires_in=None)
    else:
        await main.adopt_warm(paused)
    (notebook,) = main
    assert notebook.is_paused
    backend.notebooks[paused.key].running = replace(paused, is_paused=False)
    await until(lambda: not notebook.is_paused)


async def test_one_that_is_paused_and_silent_is_kept(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    (warm,) = main
    backend.pause(warm.key)
    await backend.notebooks[warm.key].runner.cleanup()
    reconciler = Reconciler(main)
    reconciler.doubt(warm.key)
    await until(lambda: not main.doubted)
    assert (warm.state, warm.is_paused) == (State.WARM, True)


# What a look finds


async def test_what_the_backend_no_longer_runs_is_lost(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=2, warm=1))
    held = main.assign(None)
    await at_rest(main)
    await backend._end(held.key)
    await Reconciler(main).look()
    assert (held.is_live, held.reason) == (False, Reason.LOST)
    assert main.count(State.WARM) == 1


async def test_nothing_is_lost_while_the_backend_is_ill_and_it_is_said_once(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    main = await warmed(pool())
    backend.is_ill = True
    with capture_logs() as logs:
        await Reconciler(main).look()
        clock.now += 30
        await Reconciler(main).look()
    assert main.illness == Trouble("the fake was told to be ill", 1000.0)
    assert main.count(State.WARM) == 2

    backend.is_ill = False
    with capture_logs() as later:
        await Reconciler(main).look()
        await Reconciler(main).look()
    assert main.illness is None
    assert main.count(State.WARM) == 2
    assert [line["event"] for line in logs + later] == ["backend.failed", "backend.recovered"]


async def test_one_that_becomes_warm_while_the_list_is_made_is_not_lost(pool: Factory, backend: FakeBackend) -> None:
    main = pool(capacity=1, warm=1)
    listed = asyncio.Event()
    genuine = backend.list

    async def slow(known: Collection[str] = ()) -> list[Running]:
        found = await genuine(known)
        await listed.wait()
        return found

    backend.list = slow
    reconciling = asyncio.ensure_future(Reconciler(main).look())
    await asyncio.sleep(0)
    main.tick()
    await until(lambda: main.count(State.WARM) == 1)
    listed.set()
    await reconciling
    assert repr(main) == "<Pool main [1 warm] of 1>"


async def test_one_that_ends_while_the_list_is_made_is_not_taken_back(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    held, genuine = main.assign("visitor"), backend.list
    await at_rest(main)

    async def slow(known: Collection[str] = ()) -> list[Running]:
        found = await genuine(known)
        main.reap(held, Reason.LOST)
        await until(lambda: held.key not in main)
        return found

    backend.list = slow
    await Reconciler(main, reason(Reason.LOST)).look()
    assert main.find(held.key) is None


@pytest.mark.parametrize(("age", "is_stopped"), [(0, False), (100, False), (140, True), (86400, True), (-86400, True)])
async def test_an_orphan_is_stopped_after_its_grace_only(
    pool: Factory,
    backend: FakeBackend,
    age: float,
    is_stopped: bool,  # noqa: FBT001
) -> None:
    await backend.start("orphan")
    fake = backend.notebooks["orphan"]
    fake.running = replace(fake.running, created_at=time.time() - age)
    main = pool(warm=0)
    with capture_logs() as logs:
        await Reconciler(main).look()
        await at_rest(main)
    assert backend.stopped == (["orphan"] if is_stopped else [])
    assert [line["event"] for line in logs] == (["orphan.stopped"] if is_stopped else [])


async def test_one_that_is_starting_or_being_reaped_is_no_orphan(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    notebook = main.assign(None)
    backend.notebooks[notebook.key].running = replace(running(backend, notebook.key), created_at=0.0)
    backend.stop_delay = 1e6
    main.reap(notebook, Reason.ENDED)
    with capture_logs() as logs:
        await Reconciler(main).look()
    assert logs == []


async def test_one_that_somebody_renamed_is_marked_again(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=2, warm=1))
    held = main.assign("visitor")
    await marked(main)
    backend.given.clear()
    await Reconciler(main).look()
    await marked(main)
    assert backend.given == {held.key}


async def test_who_is_silent_is_looked_for_by_name(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    held = main.assign("visitor")
    await backend.notebooks[held.key].runner.cleanup()
    genuine, asked = backend.list, []

    async def false(known: Collection[str] = ()) -> list[Running]:
        asked.append(list(known))
        return [item for item in await genuine() if item.key in known]

    backend.list = false
    await Reconciler(main).look()
    assert asked[0] == []
    assert asked[1:] == [[held.key]] * 4
    assert held.is_live


async def test_one_that_ends_while_it_is_doubted_is_doubted_no_more(pool: Factory) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    held = main.assign("visitor")
    Reconciler(main).doubt(held.key)
    main.reap(held, Reason.ENDED)
    await at_rest(main)
    assert main.doubted == set()


@pytest.mark.parametrize("times", [1, 9])
async def test_empty_lists_end_nothing_that_lives(pool: Factory, backend: FakeBackend, times: int) -> None:
    main = await warmed(pool(capacity=4, warm=2))
    held = main.assign("visitor")
    await at_rest(main)
    before = {(n.key, n.state) for n in main}
    backend.unlisted = times
    with capture_logs():
        await Reconciler(main).look()
        await Reconciler(main).look()
    assert {(n.key, n.state) for n in main} == before
    assert backend.stopped == []
    assert held.is_live


def reason(why: Reason | None) -> Callable[[str], Reason | None]:
    return lambda _key: why


@pytest.mark.parametrize("given", [Given.YES, Given.UNKNOWN])
@pytest.mark.parametrize("why", [None, *sorted(REVOCABLE)])
async def test_somebodys_that_nobody_knows_is_taken_back(
    pool: Factory,
    backend: FakeBackend,
    given: Given,
    why: Reason | None,
) -> None:
    await backend.start("found")
    fake = backend.notebooks["found"]
    fake.running = replace(fake.running, created_at=0.0, given=given)
    main = pool(warm=0)
    with capture_logs() as logs:
        await Reconciler(main, reason(why)).look()
    assert main.find("found") is not None
    assert backend.stopped == []
    assert [line["event"] for line in logs] == ["session.recovered"]


async def test_somebodys_whose_end_was_decided_is_stopped_for_good(pool: Factory, backend: FakeBackend) -> None:
    await backend.start("ended")
    fake = backend.notebooks["ended"]
    fake.running = replace(fake.running, created_at=0.0, given=Given.YES)
    main = pool(warm=0)
    with capture_logs():
        await Reconciler(main, reason(Reason.IDLE)).look()
        await at_rest(main)
    assert (main.find("ended"), backend.stopped) == (None, ["ended"])


async def test_one_that_another_service_gave_away_is_never_taken_back(pool: Factory, backend: FakeBackend) -> None:
    """Not even as the session of the visitor to whom this service wanted to give it."""
    main = await warmed(pool(capacity=2, warm=1))
    theirs = main.assign("visitor")
    await at_rest(main)
    main.leave(theirs)
    await Reconciler(main, reason(Reason.FAILED)).look()
    await at_rest(main)
    assert theirs.key in backend.notebooks
    assert main.find(theirs.key) is None


def running(backend: FakeBackend, key: str) -> Running:
    return backend.notebooks[key].running


# Watching


@pytest.mark.parametrize("is_open", [False, True])
async def test_when_a_backend_did_not_hear_the_pool_looks_itself_once_what_runs_is_adopted(
    pool: Factory, backend: FakeBackend, *, is_open: bool
) -> None:
    main = pool() if is_open else Pool("main", backend, [], pool("other").limits)
    backend.is_ill = True
    watching = asyncio.ensure_future(Reconciler(main).watch())
    with capture_logs():
        backend._dead.put_nowait(None)
        backend._dead.put_nowait("nobody's")
        async with asyncio.timeout(10):
            while not backend._dead.empty():
                await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert (main.illness is not None) is is_open
    watching.cancel()


async def test_an_error_while_the_backend_is_listened_to_is_said_and_ends_no_watch(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a lack of memory. What has ended meanwhile is looked up, and what ends later is heard."""
    monkeypatch.setattr(reconcile, "_LISTEN_AGAIN", 0.0)
    main = await warmed(pool(capacity=2, warm=2))
    first, second = main.assign("one"), main.assign("two")
    deaths, lacks = backend.deaths, [True]

    async def heard() -> AsyncIterator[str | Paused | None]:
        async for said in deaths():
            if lacks and lacks.pop():
                raise MemoryError
            yield said

    monkeypatch.setattr(backend, "deaths", heard)
    watching = asyncio.ensure_future(Reconciler(main).watch())
    with capture_logs() as logs:
        for notebook in (first, second):
            await backend.kill(notebook.key)
            await until(lambda ended=notebook: ended.state is State.GONE)
    assert [line["event"] for line in logs].count("watch.failed") == 1
    watching.cancel()


# The pulse


async def pulse(reconciler: Reconciler, main: Pool, times: int = 1) -> None:
    for _ in range(times):
        reconciler.pulse()
        await until(lambda: not any(task.get_name().startswith("pulse") for task in asyncio.all_tasks()))
        await at_rest(main)


async def test_an_illness_and_its_end_are_told_once_each(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool())
    reconciler = Reconciler(main)
    with capture_logs() as logs:
        await pulse(reconciler, main, 2)
        backend.is_ill = True
        await pulse(reconciler, main, 3)
        assert main.illness == Trouble("the fake was told to be ill", 1000.0)
        await reconciler.look()
        backend.is_ill = False
        await pulse(reconciler, main, 3)
    assert main.illness is None
    assert [line["event"] for line in logs] == ["backend.failed", "backend.recovered"]


async def test_an_illness_that_fails_in_turns_in_two_ways_is_told_twice_not_more(
    pool: Factory, backend: FakeBackend
) -> None:
    main = await warmed(pool())
    reconciler = Reconciler(main)
    words = ["refused", "hung up"] * 3

    async def fail() -> None:
        if words:
            raise BackendError(words.pop())

    async def fail_to_list(_known: Collection[str] = ()) -> list[Running]:
        raise BackendError("cannot list")

    backend.ping, genuine, backend.list = fail, backend.list, fail_to_list
    with capture_logs() as logs:
        await pulse(reconciler, main, 6)
        await reconciler.look()  # it is no news that nothing can be listed either
        backend.list = genuine
        await pulse(reconciler, main)
    assert [line["event"] for line in logs] == ["backend.failed", "backend.failed", "backend.recovered"]


async def test_a_look_and_a_pulse_that_are_under_way_end_with_the_pool(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool())
    reconciler = Reconciler(main)

    async def hang(*_about: object) -> None:
        await asyncio.Event().wait()

    backend.list = backend.ping = hang
    looking = asyncio.ensure_future(reconciler.look())
    reconciler.pulse()
    await asyncio.sleep(0.01)
    async with asyncio.timeout(2):
        await main.close(stop=False)
        await looking
        await reconciler.look()  # one that was due as the pool closed
    reconciler.pulse()
    await asyncio.sleep(0.01)
    assert (main._work, [task.get_name() for task in asyncio.all_tasks() if "pulse" in task.get_name()]) == (set(), [])


async def test_a_question_without_answer_does_not_delay_the_next(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool())
    reconciler = Reconciler(main)
    asked: list[asyncio.Event] = []

    async def wait() -> None:
        asked.append(asyncio.Event())
        await asked[-1].wait()

    backend.ping = wait
    for number in (1, 2, 3):
        reconciler.pulse()
        await until(lambda number=number: len(asked) == number)
    for each in asked:
        each.set()


async def test_what_died_in_an_illness_is_known_when_it_ends(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    (dead,) = main
    reconciler = Reconciler(main)
    backend.is_ill = True
    with capture_logs():
        await pulse(reconciler, main)
        await backend._end(dead.key)
        backend.is_ill = False
        await pulse(reconciler, main)
    assert (dead.state, dead.reason) == (State.GONE, Reason.LOST)
    assert main.count(State.WARM) == 1


async def test_a_backend_that_cannot_list_is_ill_until_it_can_whatever_it_answers_to_pings(
    pool: Factory, backend: FakeBackend
) -> None:
    main = await warmed(pool())
    reconciler, genuine = Reconciler(main), backend.list

    async def fail(known: Collection[str] = ()) -> list[Running]:
        raise BackendError(f"cannot list {len(known)}")

    backend.list = fail
    with capture_logs() as logs:
        await reconciler.look()
        await pulse(reconciler, main, 3)
        assert main.illness is not None
        backend.list = genuine
        await pulse(reconciler, main)
    assert main.illness is None
    assert [line["event"] for line in logs] == ["backend.failed", "backend.recovered"]


async def test_a_list_that_was_lost_in_an_illness_is_no_new_one(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool())
    reconciler, genuine = Reconciler(main), backend.list
    lost: asyncio.Future[list[Running]] = asyncio.get_running_loop().create_future()
    backend.list = lambda _known=(): lost
    looking = asyncio.ensure_future(reconciler.look())
    await asyncio.sleep(0)
    backend.list = genuine
    await reconciler.look()
    with capture_logs() as logs:
        lost.set_exception(BackendError("given up"))
        await looking
    assert (main.illness, logs) == (None, [])


async def test_what_waits_to_be_stopped_or_marked_waits_no_longer_than_the_illness(
    pool: Factory, backend: FakeBackend
) -> None:
    main = await warmed(pool(capacity=2, warm=2))
    reconciler = Reconciler(main)
    ended, kept = main.assign("one"), main.assign("another")
    await marked(main)
    backend.is_ill = True
    backend.given.clear()
    with capture_logs():
        await pulse_in_trouble(reconciler, main)
        main.reap(ended, Reason.ENDED)
        main.marks.set(kept)
        assert not await main.marks.is_set(kept)
        backend.is_ill = False
        reconciler.pulse()
        async with asyncio.timeout(0.4):  # the first pause alone is longer
            while ended.state is not State.GONE or backend.given != {kept.key}:
                await asyncio.sleep(0)


async def pulse_in_trouble(reconciler: Reconciler, main: Pool) -> None:
    reconciler.pulse()
    await until(lambda: main.illness is not None)


# Knocks


async def test_a_warm_one_whose_server_died_is_known_without_the_backend(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(capacity=2, warm=2))
    dead, alive = main
    await backend._end(dead.key)
    backend.is_ill = True
    reconciler = Reconciler(main)
    with capture_logs():
        await reconciler.knock()
        assert main.doubted == {dead.key}
        assert main.assign(None) is alive
        await at_rest(main)
        backend.is_ill = False
        await reconciler.look()
    assert (dead.state is State.WARM, dead.reason) == (False, Reason.LOST)


async def test_a_warm_one_that_is_mute_is_replaced_after_a_minute(
    pool: Factory, backend: FakeBackend, clock: Callable[[], float]
) -> None:
    main = await warmed(pool(capacity=1, warm=1))
    (notebook,) = main
    reconciler = Reconciler(main)
    knocks = [Knock.TAKEN, Knock.ANSWERED, Knock.TAKEN, Knock.TAKEN, Knock.TAKEN]

    async def knock() -> Knock:
        return knocks.pop(0)

    notebook.jupyter.knock = knock
    for passed in (0, 70, 70, 59):
        clock.now += passed
        await reconciler.knock()
        assert notebook.state is State.WARM
    clock.now += 1
    await reconciler.knock()
    assert (notebook.state, notebook.reason) == (State.REAPING, Reason.LOST)
    await at_rest(main)
    assert main.count(State.WARM) == 1
    assert backend.started == 2


async def test_nobodys_session_is_knocked_at_and_not_all_warm_ones_at_once(pool: Factory) -> None:
    main = await warmed(pool(capacity=20, warm=20))
    held = main.assign("visitor")
    asked, pending, most = [], set(), 0

    def knocking(key: str) -> Callable[[], Coroutine[object, object, Knock]]:
        async def knock() -> Knock:
            nonlocal most
            asked.append(key)
            pending.add(key)
            most = max(most, len(pending))
            await asyncio.sleep(0)
            pending.discard(key)
            return Knock.ANSWERED

        return knock

    for notebook in main:
        notebook.jupyter.knock = knocking(notebook.key)
    await Reconciler(main).knock()
    assert len(asked) == 19
    assert held.key not in asked
    assert 1 < most <= 8
