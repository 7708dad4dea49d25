"""When jobs are called."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

import pytest
from apscheduler.schedulers import base

from tmppool import timers


@pytest.fixture
def calls() -> list[str]:
    return []


async def test_each_job_is_called_again_and_again(calls: list[str]) -> None:
    scheduler = timers.start({"often": (lambda: calls.append("often"), 0.001)})
    async with asyncio.timeout(10):
        while len(calls) < 3:
            await asyncio.sleep(0)
    scheduler.shutdown(wait=False)


async def test_a_job_runs_on_the_loop_and_not_in_a_thread(calls: list[str]) -> None:
    """The pool's laws hold because nothing else moves its notebooks."""
    scheduler = timers.start({"job": (lambda: calls.append(threading.current_thread().name), 0.001)})
    async with asyncio.timeout(10):
        while not calls:
            await asyncio.sleep(0)
    scheduler.shutdown(wait=False)
    assert calls[0] == threading.main_thread().name


async def test_a_job_may_be_a_coroutine_function(calls: list[str]) -> None:
    async def job() -> None:
        await asyncio.sleep(0)
        calls.append("done")

    scheduler = timers.start({"job": (job, 0.001)})
    async with asyncio.timeout(10):
        while len(calls) < 2:
            await asyncio.sleep(0)
    scheduler.shutdown(wait=False)


async def test_nothing_is_called_after_the_shutdown(calls: list[str]) -> None:
    scheduler = timers.start({"job": (lambda: calls.append("job"), 0.001)})
    scheduler.shutdown(wait=False)
    await asyncio.sleep(0.01)
    assert calls == []


async def test_a_job_that_fails_is_called_again(calls: list[str]) -> None:
    def job() -> None:
        calls.append("tried")
        raise RuntimeError("out of luck")

    scheduler = timers.start({"job": (job, 0.001)})
    async with asyncio.timeout(10):
        while len(calls) < 2:
            await asyncio.sleep(0)
    scheduler.shutdown(wait=False)


async def test_a_late_job_is_called_once_and_never_dropped() -> None:
    """A machine that slept must not leave sessions alone, nor call a hundred times."""
    scheduler = timers.start({"a": (lambda: None, 10.0), "b": (lambda: None, 30.0)})
    found = {
        job.id: (job.trigger.interval.total_seconds(), job.misfire_grace_time, job.coalesce, job.max_instances)
        for job in scheduler.get_jobs()
    }
    scheduler.shutdown(wait=False)
    assert found == {"a": (10.0, None, True, 1), "b": (30.0, None, True, 1)}


class Wall(datetime):
    """What the wall clock says, as a test sets it."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) + cls.ahead


@pytest.mark.parametrize("ahead", [timedelta(days=-1), timedelta(days=1), timedelta(days=3650)])
async def test_jobs_go_on_when_the_wall_clock_is_set(
    calls: list[str], ahead: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (timers, base):
        monkeypatch.setattr(module, "datetime", Wall)
    monkeypatch.setattr(timers, "_LOOK", 0.02)
    scheduler = timers.start({"often": (lambda: calls.append("often"), 0.01), "seldom": (lambda: None, 3600.0)})
    async with asyncio.timeout(10):
        while len(calls) < 3:
            await asyncio.sleep(0.001)
    monkeypatch.setattr(Wall, "ahead", ahead)
    calls.clear()
    async with asyncio.timeout(10):
        while len(calls) < 20:
            await asyncio.sleep(0.001)
    assert scheduler.get_job("seldom").next_run_time - Wall.now(UTC) <= timedelta(hours=1)
    scheduler.shutdown(wait=False)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level("CRITICAL", "apscheduler"):
        yield
