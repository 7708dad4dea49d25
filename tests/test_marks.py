"""What is given away is marked by its backend, at once or as soon as it can be."""

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from tests.test_pool import until, warmed
from tmppool import marks
from tmppool.backends.fake import FakeBackend
from tmppool.errors import TakenError
from tmppool.notebook import Reason, State
from tmppool.pool import Pool
from tmppool.running import Given

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
    await until(lambda: backend.given == {notebook.key})


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


async def test_a_close_waits_for_a_mark_but_not_for_an_ill_backend(
    pool: Factory, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "_PARTING", 0.01)
    main = await warmed(pool())
    first = main.assign("visitor")
    await main.marks.close()
    assert backend.given == {first.key}
    await warmed(main)
    backend.is_ill = True
    with capture_logs():
        another = main.assign("another")
        task = main.marks._tasks[another.key]
        main.marks.set(another)
        assert main.marks._tasks == {another.key: task}  # one is enough
        await main.marks.close()
    assert main.marks._tasks == {}
