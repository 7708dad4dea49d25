"""Who waits for a notebook gets it in the order of arrival, and a notebook wakes one however many wait."""

import asyncio
from collections.abc import Callable

import pytest

from tests.proxy.stage import eventually
from tmppool.errors import BackendError, Shortage
from tmppool.notebook import Notebook, Reason, State
from tmppool.pool import Pool
from tmppool.tasks import spawn
from tmppool.web import waiting_line
from tmppool.web.waiting_line import LineFullError, WaitingLine

Factory = Callable[..., Pool]
HERE = b"a network"


class Someone:
    """A waiter who takes a notebook in the first step of a task, as a start does."""

    def __init__(self, pool: Pool, line: WaitingLine) -> None:
        self.pool, self.line = pool, line
        self.may_go = True
        self.is_exempt = False
        self.tries = 0
        self.notebook: Notebook | None = None

    def go(self) -> None:
        self.tries += 1
        self.may_go = False
        spawn(self._take(), "a try")

    async def _take(self) -> None:
        self.notebook = self.pool.assign(None)
        await asyncio.sleep(0)
        self.line.leave(self)


def in_line(line: WaitingLine, pool: Pool, count: int) -> list[Someone]:
    some = [Someone(pool, line) for _ in range(count)]
    for one in some:
        line.enter(one, HERE)
    return some


async def full(pool: Pool) -> list[Notebook]:
    """Assign all that the pool may have."""
    while pool.count(State.ASSIGNED) < pool.limits.capacity:
        pool.tick()
        await eventually(lambda: pool.count(State.WARM) > 0)
        pool.assign(None)
    return list(pool)


async def test_each_notebook_calls_the_first_and_nobody_else(pool: Factory) -> None:
    main = pool(capacity=3, warm=3)
    line = WaitingLine(main, lambda: main.shortage)
    held = await full(main)
    some = in_line(line, main, 100)
    line.call()
    assert [one.tries for one in some] == [0] * 100
    for number, notebook in enumerate(held, 1):
        main.reap(notebook, Reason.IDLE)
        await eventually(lambda number=number: len(line) == 100 - number)
        assert [one.tries for one in some] == [1] * number + [0] * (100 - number)


async def test_several_notebooks_are_given_one_after_the_other_and_none_is_asked_for_twice(pool: Factory) -> None:
    main = pool(capacity=4, warm=4)
    main.tick()
    await eventually(lambda: main.count(State.WARM) == 4)
    line = WaitingLine(main, lambda: main.shortage)
    some = in_line(line, main, 6)
    line.call()
    await eventually(lambda: len(line) == 2)
    assert [one.tries for one in some] == [1] * 4 + [0] * 2


async def test_who_is_away_keeps_the_place_and_holds_up_nobody(pool: Factory) -> None:
    main = pool(capacity=2, warm=2)
    line = WaitingLine(main, lambda: main.shortage)
    held = await full(main)
    away, here, last = in_line(line, main, 3)
    away.may_go = False
    main.reap(held[0], Reason.IDLE)
    await eventually(lambda: here.notebook is not None)
    away.may_go = True
    main.reap(held[1], Reason.IDLE)
    await eventually(lambda: away.notebook is not None)
    assert last.tries == 0


async def test_whoever_holds_a_share_is_passed_and_asked_about_once(
    pool: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_line, "_LOOK", 0.02)
    main = pool(capacity=3, warm=3)
    main.tick()
    await eventually(lambda: main.count(State.WARM) == 3)
    asked: list[bytes] = []
    holding = {HERE}
    line = WaitingLine(main, lambda: main.shortage, lambda network: bool(asked.append(network)) or network in holding)
    some = in_line(line, main, 100)
    line.call()
    assert asked == [HERE]
    assert [line.holds_back(one) for one in some[:2]] == [True, True]
    some[1].is_exempt = True
    other = Someone(main, line)
    line.enter(other, b"another")
    line.call()
    await eventually(lambda: other.notebook is not None and some[1].notebook is not None)
    assert (some[0].tries, line.holds_back(some[0]), line.holds_back(other)) == (0, True, False)
    holding.clear()
    await eventually(lambda: some[0].notebook is not None)


async def test_the_end_of_an_illness_is_noticed(pool: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_line, "_LOOK", 0.02)
    main = pool(capacity=1, warm=1)
    main.tick()
    await eventually(lambda: main.count(State.WARM) == 1)
    line = WaitingLine(main, lambda: main.shortage if main.illness is None else Shortage.BACKEND_ILL)
    main.note_illness(BackendError("away"))
    (one,) = in_line(line, main, 1)
    line.call()
    await asyncio.sleep(0.1)
    assert one.tries == 0
    main.note_illness(None)
    await eventually(lambda: one.notebook is not None)


async def test_so_many_wait_in_all_and_of_one_network(pool: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_line, "_MOST", 5)
    monkeypatch.setattr(waiting_line, "_MOST_OF_NETWORK", 3)
    main = pool()
    line = WaitingLine(main, lambda: main.shortage)
    some = in_line(line, main, 3)
    with pytest.raises(LineFullError, match="at your network address"):
        in_line(line, main, 1)
    for _ in range(2):
        line.enter(Someone(main, line), b"another")
    with pytest.raises(LineFullError, match="Very many pages"):
        line.enter(Someone(main, line), b"a third")
    line.leave(some[0])
    line.leave(some[0])
    in_line(line, main, 1)
    assert len(line) == 5


async def test_a_line_of_those_who_are_held_back_keeps_nobody_from_a_notebook(
    pool: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_line, "_MOST", 3)
    main = pool(capacity=3, warm=1)
    main.tick()
    await eventually(lambda: main.count(State.WARM) == 1)
    line = WaitingLine(main, lambda: main.shortage, lambda network: network == HERE)
    held = in_line(line, main, 3)
    with pytest.raises(LineFullError):
        in_line(line, main, 1)
    newcomer, next_one = Someone(main, line), Someone(main, line)
    line.enter(newcomer, b"another")
    with pytest.raises(LineFullError):  # the newcomer is to have what is there
        line.enter(next_one, b"a third")
    line.call()
    await eventually(lambda: newcomer.notebook is not None)
    assert [one.tries for one in held] == [0] * 3
    with pytest.raises(LineFullError):
        line.enter(next_one, b"a third")
