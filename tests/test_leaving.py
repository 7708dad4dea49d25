"""The end of the service: what it waits for, how it is shortened, and what is said of what stays."""

import asyncio
import time
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from tmppool import leaving as leaving_module
from tmppool.backends.base import Edition
from tmppool.backends.fake import FakeBackend
from tmppool.errors import BackendError
from tmppool.leaving import Leaving
from tmppool.notebook import State
from tmppool.pool import Pool
from tmppool.pools import Pools
from tmppool.running import Running


async def warmed(pool: Pool, number: int = 2) -> Pools:
    pool.tick()
    async with asyncio.timeout(10):
        while pool.count(State.WARM) < number:
            await asyncio.sleep(0.01)
    pools = Pools()
    pools.add(pool)
    return pools


@pytest.fixture
async def pools(pool: Callable[..., Pool]) -> Pools:
    return await warmed(pool(capacity=2, warm=2))


async def test_what_can_be_stopped_is_and_nothing_is_said(pools: Pools, backend: FakeBackend) -> None:
    leaving = Leaving()
    with capture_logs() as logs:
        await leaving.close(pools, stop=True)
    leaving.check("main")
    assert [line for line in logs if line["event"] == "stops.awaited"] == []
    assert (leaving.left, backend.notebooks) == (0, {})


async def test_what_is_to_be_kept_is_not_said_to_be_left(pools: Pools, backend: FakeBackend) -> None:
    backend.is_ill = True
    leaving = Leaving()
    await leaving.close(pools, stop=False)
    leaving.check("main")
    assert len(backend.notebooks) == 2


@pytest.mark.parametrize("is_hung", [True, False])
async def test_a_second_signal_leaves_what_cannot_be_stopped_which_is_said(
    pools: Pools, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch, *, is_hung: bool
) -> None:
    monkeypatch.setattr(leaving_module, "_SAY", 0.02)
    backend.is_ill, backend.stop_delay = not is_hung, 3600.0 if is_hung else 0.0
    leaving, began = Leaving(), time.monotonic()
    with capture_logs() as logs:
        leaving.hint = "a hint"
        closing = asyncio.ensure_future(leaving.close(pools, stop=True))
        await asyncio.sleep(0.3)
        assert not closing.done()
        leaving.hurry.set()
        leaving.hurry.set()
        await closing
    assert time.monotonic() - began < 15
    assert {line["count"] for line in logs if line["event"] == "stops.awaited"} == {2}
    with pytest.raises(BackendError, match=r"^2 notebooks of the service 'main' could not .* run: a hint$"):
        leaving.check("main")


async def test_a_start_that_could_not_clean_up_is_counted(
    pool: Callable[..., Pool], backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:

    async def begin(key: str, edition: Edition | None = None) -> Running:
        del key, edition
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(backend, "start", begin)
    made = pool(capacity=2, warm=2)
    made.tick()
    await asyncio.sleep(0)
    assert made.count(State.STARTING) == 2
    backend.is_ill = True
    assert await made.close(stop=True, grace=1.0) == 2


async def test_the_last_work_is_done_and_its_failure_told() -> None:
    done = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(1)
        raise BackendError("the engine is away")

    with pytest.raises(BackendError, match="away"):
        await Leaving().clean_up(work)
    assert done == [1]


@pytest.mark.parametrize("how", ["a hurry", "notebooks were left"])
async def test_the_last_work_is_given_up_where_it_would_hang(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving_module, "_IMPATIENCE", 0.05)
    leaving = Leaving()
    if how == "a hurry":
        leaving.hurry.set()
    else:
        leaving.left = 1

    async def hang() -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(15):
        await leaving.clean_up(hang)


async def test_the_last_work_begins_also_in_a_hurry() -> None:
    leaving, done = Leaving(), []
    leaving.hurry.set()

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.append(1)

    await leaving.clean_up(work)
    assert done == [1]
