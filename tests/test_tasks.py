"""Tasks are kept, named, and their death is logged."""

import asyncio
import gc
import weakref

import pytest
from structlog.testing import capture_logs

from tmppool import tasks


async def test_a_task_has_its_name_and_its_result() -> None:
    async def work() -> int:
        return 7

    task = tasks.spawn(work(), "the work")
    assert task.get_name() == "the work"
    assert await task == 7


async def test_a_task_that_nobody_holds_is_kept_until_it_is_done() -> None:
    gate, done = asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        done.append(1)

    kept = weakref.ref(tasks.spawn(work(), "work"))
    await asyncio.sleep(0)
    gc.collect()
    assert kept() is not None

    gate.set()
    await asyncio.wait({kept()})
    await asyncio.sleep(0)
    assert done == [1]
    assert kept() not in tasks._alive


async def test_the_death_of_a_task_is_logged_with_its_name() -> None:
    async def work() -> None:
        raise RuntimeError("out of luck")

    with capture_logs() as logs:
        task = tasks.spawn(work(), "doomed")
        await asyncio.wait({task})
        await asyncio.sleep(0)
    assert [(line["event"], line["task"], line["error"], line["log_level"]) for line in logs] == [
        ("task.failed", "doomed", "RuntimeError('out of luck')", "error")
    ]


async def test_a_failure_that_the_caller_awaits_is_told_to_the_caller_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        raise RuntimeError("out of luck")

    with capture_logs() as logs:
        with pytest.raises(RuntimeError, match="out of luck"):
            await asyncio.shield(tasks.spawn(work(), "doomed", awaited=True))
        left = tasks.spawn(work(), "its caller was cancelled", awaited=True)
        await asyncio.wait({left})
        await asyncio.sleep(0)
        assert left not in tasks._alive
        del left
        gc.collect()
    assert logs == []
    assert caplog.text == ""


async def test_a_cancelled_task_is_no_death() -> None:
    with capture_logs() as logs:
        task = tasks.spawn(asyncio.Event().wait(), "endless")
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        await asyncio.sleep(0)
    assert task.cancelled()
    assert logs == []


async def test_what_must_be_completed_is_so_before_its_caller_is_cancelled() -> None:
    begun, gate, done = asyncio.Event(), asyncio.Event(), []

    async def work() -> None:
        begun.set()
        await gate.wait()
        done.append(1)

    caller = asyncio.ensure_future(tasks.completed(work(), "work"))
    await begun.wait()
    for _ in range(2):
        caller.cancel()
        await asyncio.wait({caller}, timeout=0.05)
        assert not caller.done()
    gate.set()
    await asyncio.wait({caller})
    assert caller.cancelled()
    assert done == [1]


async def test_a_caller_gets_what_was_completed_and_its_failure() -> None:
    async def work(*, fails: bool) -> int:
        if fails:
            raise RuntimeError("out of luck")
        return 7

    assert await tasks.completed(work(fails=False), "work") == 7
    with pytest.raises(RuntimeError, match="out of luck"):
        await tasks.completed(work(fails=True), "work")


async def test_finish_of_nothing_returns() -> None:
    await tasks.finish(set(), 0.0)


async def test_finish_waits_for_what_ends_in_time() -> None:
    ended = []

    async def work() -> None:
        await asyncio.sleep(0)
        ended.append(1)

    await tasks.finish({tasks.spawn(work(), "a"), tasks.spawn(work(), "b")}, 10.0)
    assert ended == [1, 1]


async def test_finish_cancels_what_is_late_and_waits_for_its_clean_up() -> None:
    cleaned = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(1)

    await tasks.finish({tasks.spawn(work(), "late")}, 0.0)
    if not cleaned:
        pytest.fail("finish returned before the task had ended")


async def stubborn(until: asyncio.Event) -> None:
    """Work that is not interrupted."""
    while not until.is_set():
        try:
            await until.wait()
        except asyncio.CancelledError:
            continue


async def test_in_a_hurry_finish_cancels_at_once_and_leaves_what_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_HURRIED", 0.01)
    hurry, until = asyncio.Event(), asyncio.Event()
    waiting, left = tasks.spawn(asyncio.Event().wait(), "waiting"), tasks.spawn(stubborn(until), "stubborn")
    finishing = asyncio.ensure_future(tasks.finish({waiting, left}, 3600.0, hurry))
    await asyncio.sleep(0.01)
    assert not finishing.done()
    hurry.set()
    async with asyncio.timeout(10):
        await finishing
    assert waiting.cancelled()
    assert not left.done()
    until.set()
    await left


async def test_a_hurry_also_ends_the_wait_for_what_was_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_HURRIED", 0.01)
    hurry, until = asyncio.Event(), asyncio.Event()
    left = tasks.spawn(stubborn(until), "stubborn")
    finishing = asyncio.ensure_future(tasks.finish({left}, 0.0, hurry))
    await asyncio.sleep(0.05)
    assert not finishing.done()
    hurry.set()
    async with asyncio.timeout(10):
        await finishing
    until.set()
    await left
