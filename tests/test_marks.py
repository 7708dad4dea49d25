"""What is given away is marked by its backend, at once or as soon as it can be."""

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from tests.test_pool import until, warmed
from tmppool import marks
from tmppool.backends.fake import FakeBackend
from tmppool.errors import BackendError, TakenError
from tmppool.notebook import Notebook, Reason, State
from tmppool.pool import Pool
from tmppool.running import Given
from tmppool.starts import Trouble

Factory = Callable[..., Pool]


async def test_what_is_given_away_is_marked(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool())
    notebook = main.assign("visitor")
    assert await main.marks.is_set(notebook)
    assert backend.given == {notebook.key}
    assert [item.given for item in await backend.list() if item.key == notebook.key] == [Given.YES]


async def test_an_adopted_session_is_marked_unless_it_was(pool: Factory, backend: FakeBackend) -> None:
    for key, is_given in (("a" * 22, True), ("b" * 22, False)):
        await backend.start(key)
        if is_given:
            await backend.give(key)
    given, unmarked = await backend.list()
    main = pool(warm=0)
    one, other = (main.adopt_session(item, visitor=None, expires_in=None) for item in (given, unmarked))
    assert await main.marks.is_set(other)
    assert backend.given == {one.key, other.key}


async def test_what_could_not_be_marked_is_told_once_and_tried_until_it_works(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_RETRY", 0.0)
    main = await warmed(pool())
    backend.is_ill = True
    with capture_logs() as logs:
        notebook = main.assign("visitor")
        assert not await main.marks.is_set(notebook)
        for _ in range(20):
            await asyncio.sleep(0)
    assert [line["event"] for line in logs if line["event"].startswith("mark")] == ["mark.failed"]
    backend.is_ill = False
    await until(lambda: notebook.key in backend.given)


async def test_what_could_not_be_marked_for_whatever_reason_is_tried_until_it_works_and_is_proof_of_trouble(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a lack of threads, of which no backend tells."""
    monkeypatch.setattr(marks, "_RETRY", 0.0)
    monkeypatch.setattr(marks, "_PROOF", 0.0)
    main = await warmed(pool(warm=2))
    genuine = backend.give

    async def fail(_key: str) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(backend, "give", fail)
    with capture_logs() as logs:
        notebook = main.assign("visitor")
        async with asyncio.timeout(1):
            assert not await main.marks.is_set(notebook)
        await until(lambda: main.marks.trouble is not None)
        monkeypatch.setattr(backend, "give", genuine)
        await until(lambda: notebook.key in backend.given and main.marks.trouble is None)
    assert "task.failed" not in [line["event"] for line in logs]
    failures = [line["error"] for line in logs if line["event"] == "mark.failed"]
    assert failures == ["RuntimeError: can't start new thread"]


async def test_a_backend_that_takes_its_time_holds_a_visitor_up_no_longer_than_that(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_PATIENCE", 0.01)
    release = asyncio.Event()

    async def slow(key: str) -> None:
        await release.wait()
        backend.given.add(key)

    main = await warmed(pool())
    backend.give = slow
    notebook = main.assign("visitor")
    assert not await main.marks.is_set(notebook)
    release.set()
    await until(lambda: backend.given == {notebook.key})


async def test_one_that_another_service_gave_away_is_told_and_not_tried_again(
    pool: Factory, backend: FakeBackend
) -> None:
    tried = []

    async def late(key: str) -> None:
        tried.append(key)
        raise TakenError("another service was first")

    main = await warmed(pool())
    backend.give = late
    notebook = main.assign("visitor")
    with pytest.raises(TakenError):
        await main.marks.is_set(notebook)
    assert tried == [notebook.key]
    assert main.marks._tasks == {}
    main.leave(notebook)
    assert notebook.state is State.GONE
    assert backend.stopped == []


async def test_no_mark_is_wanted_of_one_that_has_ended(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_RETRY", 0.0)
    main = await warmed(pool())
    backend.is_ill = True
    with capture_logs():
        notebook = main.assign("visitor")
        asking = asyncio.ensure_future(main.marks.is_set(notebook))
        main.reap(notebook, Reason.ENDED)
        assert not await asking
        await until(lambda: not main.marks._tasks)
    assert not await main.marks.is_set(notebook)
    assert main.marks._first == {}


# Proof


async def failed(main: Pool) -> Notebook:
    """Assign a notebook whose mark fails, as a visitor does."""
    notebook = main.assign("visitor")
    assert not await main.marks.is_set(notebook)
    main.reap(notebook, Reason.FAILED)
    return notebook


async def test_where_another_can_be_marked_nothing_is_wrong(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = await warmed(pool(warm=2))
    one, other = main._to_assign()
    give = backend.give

    async def give_others(key: str) -> None:
        if key == one.key:
            raise BackendError("no such notebook")
        await give(key)

    monkeypatch.setattr(backend, "give", give_others)
    with capture_logs() as logs:
        assert await failed(main) is one
        assert main.marks.is_doubted
        await until(lambda: not main.marks.is_doubted)
    assert main.illness is None
    assert backend.given == {other.key}
    assert main.assign("another") is other  # so that its mark is of use
    assert await main.marks.is_set(other)
    assert "assignments.suspended" not in [line["event"] for line in logs]


async def test_where_no_other_can_be_marked_that_is_trouble_until_one_can(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_PROOF", 0.0)
    main = await warmed(pool(warm=2))
    backend.is_ill = True
    with capture_logs() as logs:
        await failed(main)
        await until(lambda: main.illness)
        told = "notebooks cannot be marked as assigned: the fake was told to be ill"
        assert main.illness == Trouble(told, 1000.0)
        main.note_illness(None)  # the backend answers all the same
        assert main.illness == Trouble(told, 1000.0)
        backend.is_ill = False
        await until(lambda: not main.marks.is_doubted)
    assert main.illness is None
    events = [line["event"] for line in logs if line["event"].startswith("assignments.")]
    assert events == ["assignments.suspended", "assignments.resumed"]


async def test_one_that_is_stuck_by_itself_is_no_trouble_for_the_others(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_PROOF", 0.0)
    main = await warmed(pool(warm=3))
    one, stuck, other = main._to_assign()
    give = backend.give

    async def give_some(key: str) -> None:
        if key in (one.key, stuck.key):
            raise BackendError("stuck")
        await give(key)

    monkeypatch.setattr(backend, "give", give_some)
    with capture_logs():
        assert await failed(main) is one
        await until(lambda: main.illness)
        await until(lambda: main.illness is None)
    assert backend.given == {other.key}


async def test_those_that_were_tried_are_replaced_since_they_may_be_marked(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that adopted one would take it for a session."""
    monkeypatch.setattr(marks, "_PROOF", 0.0)
    main = await warmed(pool(warm=3, capacity=4))
    give, tried, is_ill = backend.give, set[str](), True

    async def late(key: str) -> None:
        tried.add(key)
        await give(key)
        if is_ill:
            raise BackendError("no answer")

    monkeypatch.setattr(backend, "give", late)
    with capture_logs():
        lost = await failed(main)
        await until(lambda: len(tried) > 2)
        assert all(main._places[key].state is State.WARM for key in tried - {lost.key})
        is_ill = False
        await until(lambda: not main.marks.is_doubted)
        await until(lambda: main.count(State.WARM) == 3 and backend.given.isdisjoint(n.key for n in main))


async def test_a_session_that_is_marked_already_is_no_proof(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_PROOF", 0.0)
    main = await warmed(pool(warm=2, capacity=2))
    marked = main.assign("visitor")
    assert await main.marks.is_set(marked)
    give = backend.give

    async def give_marked(key: str) -> None:
        if key != marked.key:
            raise BackendError("no more")
        await give(key)

    monkeypatch.setattr(backend, "give", give_marked)
    with capture_logs():
        await failed(main)
        await until(lambda: main.illness)


def slowed(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let no mark be set before the event that is returned."""
    release, give = asyncio.Event(), backend.give

    async def slow(key: str) -> None:
        await release.wait()
        await give(key)

    monkeypatch.setattr(backend, "give", slow)
    return release


async def test_a_mark_that_only_takes_long_refuses_nobody(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_SLOW", 0.01)
    main = await warmed(pool(warm=2))
    release = slowed(backend, monkeypatch)
    with capture_logs():
        notebook = main.assign("visitor")
        await until(lambda: main.marks.trying)
        assert (main.illness, main.marks.is_doubted) == (None, False)
        release.set()
        assert await main.marks.is_set(notebook)
        await until(lambda: not main.marks.trying)
    assert main.illness is None


async def test_a_mark_that_takes_long_is_doubted_before_it_has_failed(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_SLOW", 0.01)
    monkeypatch.setattr(marks, "_PROOF", 0.0)
    main = await warmed(pool(warm=2))
    release = slowed(backend, monkeypatch)
    with capture_logs():
        notebook = main.assign("visitor")
        await until(lambda: main.illness)
        release.set()
        assert await main.marks.is_set(notebook)
        await until(lambda: main.illness is None)


async def test_where_there_is_no_other_the_failure_counts_until_there_is_one(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_PROOF", 0.0)
    main = await warmed(pool(warm=1, capacity=1))
    backend.is_ill = True
    with capture_logs():
        await failed(main)
        await until(lambda: main.illness)
        backend.is_ill = False
        main.note_illness(BackendError("away"))
        main.note_illness(None)  # what waits to be stopped is stopped now
        await until(lambda: main.illness is None)
    assert main.count(State.WARM) == 1


async def test_one_that_another_service_gave_away_is_proof_enough(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(warm=2))
    one, other = main._to_assign()
    backend.given.add(other.key)
    give, calls = backend.give, 0

    async def fail_once(key: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise BackendError("ill")
        await give(key)

    backend.give = fail_once
    with capture_logs():
        assert await failed(main) is one
        await until(lambda: not main.marks.is_doubted)
    assert main.illness is None
    assert calls >= 2


async def test_a_close_ends_a_proof(pool: Factory, backend: FakeBackend) -> None:
    main = await warmed(pool(warm=2))
    backend.is_ill = True
    with capture_logs():
        await failed(main)
        await until(lambda: main.illness)
        await main.marks.close()
        await until(lambda: not main.marks.is_doubted)


async def test_a_close_waits_for_a_mark_but_not_for_an_ill_backend(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_PARTING", 0.01)
    main = await warmed(pool())
    first = main.assign("visitor")
    await main.marks.close()
    assert backend.given == {first.key}
    main = await warmed(pool())
    backend.is_ill = True
    with capture_logs():
        another = main.assign("another")
        task = main.marks._tasks[another.key]
        main.marks.set(another)
        assert main.marks._tasks == {another.key: task}  # one is enough
        await main.marks.close()
    assert main.marks._tasks == {}
