"""A ticket has one start, whatever happens to its streams; what nobody comes back to is given up and forgotten."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from tests.proxy.stage import eventually
from tmppool.errors import TmppoolError
from tmppool.notebook import Notebook, Reason, State
from tmppool.pool import Pool
from tmppool.web import stream_starts, waiting_line
from tmppool.web.start_limits import StartRefusedError
from tmppool.web.stream_starts import Start, Step, StreamStarts
from tmppool.web.waiting_line import WaitingLine

Factory = Callable[..., Pool]
GRACE = 0.3


class Scene:
    """A pool with starts in its line; assignments wait for ``may_go`` after their first step."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.line = WaitingLine(pool, lambda: pool.shortage, lambda _network: self.refusal is not None)
        self.starts = StreamStarts()
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.refusal: Exception | None = None  # of assignments; the network seems to hold its share meanwhile

    def attended(self, number: str) -> contextlib.AbstractContextManager[Start]:
        return self.starts.attended(number, lambda forget: Start(self.line, b"here", self._assign, self._end, forget))

    async def _assign(self) -> Notebook:
        if self.refusal is not None:
            raise self.refusal
        notebook = self.pool.assign(None)
        await self.may_go.wait()
        return notebook

    async def _end(self, notebook: Notebook) -> None:
        self.pool.reap(notebook, Reason.UNOPENED)


@pytest.fixture
async def scene(pool: Factory, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(stream_starts, "COMES_BACK", GRACE)
    main = pool(capacity=2, warm=2)
    main.tick()
    await eventually(lambda: main.count(State.WARM) == 2)
    return Scene(main)


async def test_streams_of_one_ticket_wait_for_one_notebook(scene: Scene) -> None:
    with scene.attended("a") as one, scene.attended("a") as other:
        assert await one.over(5)
        assert one is other
        one.note_told()
    with scene.attended("a") as again:
        assert (again.step, again.notebook) == (Step.TOLD, one.notebook)
    assert scene.pool.count(State.ASSIGNED) == 1


async def test_each_cut_has_the_whole_time_to_come_back(scene: Scene) -> None:
    with scene.attended("a") as start:
        assert await start.over(5)
    for _ in range(3):
        await asyncio.sleep(GRACE / 2)
        with scene.attended("a"):
            pass
    assert start.is_live
    await eventually(lambda: not start.is_live)
    assert (len(scene.starts), scene.pool.find(start.notebook.key if start.notebook else "")) == (0, None)


async def test_what_is_taken_after_nobody_came_back_is_ended_then(scene: Scene) -> None:
    scene.may_go.clear()
    with scene.attended("a") as start:
        await eventually(lambda: scene.pool.count(State.ASSIGNED) == 1)
    await asyncio.sleep(GRACE * 2)
    assert (start.step, len(scene.starts)) == (Step.TAKING, 1)
    scene.may_go.set()
    await eventually(lambda: len(scene.starts) == 0)
    await eventually(lambda: not start.is_live)


async def test_who_comes_back_while_it_is_taken_gets_it(scene: Scene) -> None:
    scene.may_go.clear()
    with scene.attended("a"):
        await eventually(lambda: scene.pool.count(State.ASSIGNED) == 1)
    await asyncio.sleep(GRACE * 2)
    with scene.attended("a") as again:
        scene.may_go.set()
        assert await again.over(5)
        assert again.is_live


async def test_who_waits_and_is_cut_keeps_the_place_and_leaves_nothing_in_the_end(scene: Scene) -> None:
    held = [scene.pool.assign(None) for _ in range(2)]
    with scene.attended("first") as first, scene.attended("second") as second:
        assert not await first.over(0.05)
        with scene.attended("third"):
            pass
        assert len(scene.line) == 3
        await eventually(lambda: len(scene.line) == len(scene.starts) == 2)
    with scene.attended("second"), scene.attended("first"):
        scene.pool.reap(held[0], Reason.IDLE)
        assert await first.over(5)
        assert (first.is_live, second.is_live) == (True, False)
    await eventually(lambda: len(scene.starts) == len(scene.line) == 0)
    await eventually(lambda: not first.is_live)


async def test_nothing_is_taken_for_a_page_that_is_away(scene: Scene) -> None:
    held = [scene.pool.assign(None) for _ in range(2)]
    with scene.attended("a") as start:
        pass
    scene.pool.reap(held[0], Reason.IDLE)
    await eventually(lambda: scene.pool.count(State.WARM) == 1)
    assert start.step is Step.WAITING
    with scene.attended("a"):
        assert await start.over(5)
    assert start.is_live


async def test_a_failure_is_told_and_the_next_one_is_a_start_of_its_own(scene: Scene) -> None:
    with scene.attended("a") as start:
        scene.refusal = TmppoolError("too many starts")
        assert await start.over(5)
        assert (start.step, start.failure) == (Step.FAILED, "Too many starts.")
        scene.refusal = None
        with scene.attended("a") as another:
            assert await another.over(5)
            assert another.is_live
            another.note_told()
    with scene.attended("a") as again:
        assert again is another
    assert (len(scene.line), len(scene.starts)) == (0, 1)


async def test_whoever_finds_the_share_of_the_network_taken_keeps_the_place(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_line, "_LOOK", 0.02)
    with scene.attended("a") as start:
        assert start.step is Step.TAKING
        scene.refusal = StartRefusedError("held")  # a click came before it
        assert not await start.over(0.1)
        assert (start.step, len(scene.line)) == (Step.WAITING, 1)
        scene.refusal = None
        assert await start.over(5)
        assert start.is_live


async def test_an_error_of_ours_is_a_failure_too(scene: Scene) -> None:
    with scene.attended("a") as start:
        scene.refusal = RuntimeError("a bug")
        assert await start.over(5)
        assert (start.step, start.failure) == (Step.FAILED, "The notebook could not be started.")
    assert len(scene.starts) == len(scene.line) == 0


async def test_a_notebook_that_ended_before_it_was_told_is_replaced(scene: Scene) -> None:
    with scene.attended("a") as start:
        assert await start.over(5)
        assert start.notebook is not None
        scene.pool.reap(start.notebook, Reason.DIED)
    with scene.attended("a") as another:
        assert await another.over(5)
        assert another.is_live


async def test_at_the_end_of_the_service_only_what_was_told_is_kept(scene: Scene) -> None:
    with scene.attended("told") as told:
        assert await told.over(5)
        told.note_told()
        scene.may_go.clear()
        with scene.attended("taking") as taking, scene.attended("waiting") as waiting:
            await eventually(lambda: scene.pool.count(State.ASSIGNED) == 2)
            asyncio.get_running_loop().call_later(0.05, scene.may_go.set)
            await scene.starts.close()
    assert (told.is_live, taking.is_live, taking.step, waiting.notebook) == (True, False, Step.TAKEN, None)
    scene.may_go.set()
    with scene.attended("taken") as taken:
        assert await taken.over(5)
    await scene.starts.close()
    assert not taken.is_live
