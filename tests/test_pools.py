"""The named pools of one service, and what is remembered of past sessions."""

import asyncio
import time
from collections.abc import Callable

from tests.notebooks import notebook_of
from tmppool import pools as pools_module
from tmppool.backends.fake import FakeBackend
from tmppool.notebook import Reason, State
from tmppool.pool import Phase, Pool
from tmppool.pools import Ended, Pools

Factory = Callable[..., Pool]


async def warmed(pool: Pool) -> Pool:
    pool.tick()
    async with asyncio.timeout(10):
        while pool._work or pool._woken:
            await asyncio.sleep(0)
    return pool


def both(*made: Pool) -> Pools:
    pools = Pools()
    for pool in made:
        pools.add(pool)
    return pools


async def test_the_first_pool_is_the_default(pool: Factory) -> None:
    one, two = pool("one"), pool("two")
    pools = both(one, two)
    assert pools.default is one
    assert pools.get(None) is one
    assert list(pools) == [one, two]


async def test_a_pool_is_found_by_its_name(pool: Factory) -> None:
    one, two = pool("one"), pool("two")
    pools = both(one, two)
    assert pools.get("two") is two
    assert pools.get("three") is None
    assert pools.get("") is None


async def test_a_notebook_is_found_by_its_key_in_whichever_pool(pool: Factory) -> None:
    one, two = await warmed(pool("one")), await warmed(pool("two"))
    pools = both(one, two)
    first, second = one.assign(None), two.assign(None)
    assert pools.find(first.key) == (one, first)
    assert pools.find(second.key) == (two, second)
    assert pools.find("x" * 22) is None


async def test_only_an_assigned_notebook_is_found(pool: Factory) -> None:
    one = await warmed(pool("one", capacity=1, warm=1))
    pools = both(one)
    (notebook,) = one
    assert pools.find(notebook.key) is None
    one.assign(None)
    assert pools.find(notebook.key) == (one, notebook)
    one.reap(notebook, Reason.ENDED)
    assert pools.find(notebook.key) is None


async def test_a_visitor_finds_what_they_hold_in_that_pool(pool: Factory) -> None:
    one, two = await warmed(pool("one")), await warmed(pool("two"))
    pools = both(one, two)
    mine, other = one.assign("me"), one.assign("you")
    assert pools.held_by("me", one) is mine
    assert pools.held_by("you", one) is other
    assert pools.held_by("me", two) is None
    assert pools.held_by("nobody", one) is None


async def test_an_anonymous_visitor_holds_nothing(pool: Factory) -> None:
    """A notebook given to a program has no visitor, and is nobody's."""
    one = await warmed(pool("one"))
    one.assign(None)
    assert both(one).held_by(None, one) is None


async def test_what_is_ending_is_held_by_nobody(pool: Factory) -> None:
    one = await warmed(pool("one"))
    pools = both(one)
    one.reap(one.assign("me"), Reason.ENDED)
    assert pools.held_by("me", one) is None


async def test_all_pools_are_closed_within_one_grace(pool: Factory, backend: FakeBackend) -> None:
    pools = both(*[await warmed(pool(name)) for name in ("one", "two", "three", "four")])
    backend.is_ill = True
    began = time.monotonic()
    await pools.close(stop=True, grace=0.2)
    assert 0.2 <= time.monotonic() - began < 0.5
    assert [(each.phase, each.count(State.REAPING), each._work) for each in pools] == [(Phase.CLOSING, 2, set())] * 4


async def test_pools_that_are_closed_to_stop_leave_nothing(pool: Factory, backend: FakeBackend) -> None:
    pools = both(*[await warmed(pool(name)) for name in ("one", "two")])
    await pools.close(stop=True)
    assert ([list(each) for each in pools], backend.notebooks) == ([[], []], {})


def test_a_session_is_remembered_from_its_first_moment_of_ending() -> None:
    pools, before = Pools(), time.time()
    notebook = notebook_of("k" * 22, "one", 0.0)
    for to, reason in ((State.WARM, Reason.READY), (State.ASSIGNED, Reason.CLICK)):
        pools.hear(notebook.move(to, reason, 1.0))
        assert pools.ended(notebook.key) is None

    pools.hear(notebook.move(State.REAPING, Reason.IDLE, 2.0))

    found = pools.ended(notebook.key)
    assert (found.reason, found.pool) == (Reason.IDLE, "one")
    assert before <= found.at <= time.time()
    pools.hear(notebook.move(State.GONE, Reason.IDLE, 3.0))
    assert pools.ended(notebook.key) is found


def test_one_that_nobody_held_is_not_remembered() -> None:
    pools = Pools()
    notebook = notebook_of("k" * 22, "one", 0.0)
    for to, reason in ((State.WARM, Reason.READY), (State.REAPING, Reason.SURPLUS), (State.GONE, Reason.SURPLUS)):
        pools.hear(notebook.move(to, reason, 1.0))
    assert pools.ended(notebook.key) is None


def test_the_oldest_are_forgotten_when_there_are_too_many() -> None:
    pools, limit = Pools(), pools_module._REMEMBERED
    for number in range(limit + 3):
        pools.remember(str(number), Ended(Reason.IDLE, float(number), "one"))
    assert [pools.ended(str(number)) for number in range(3)] == [None, None, None]
    assert pools.ended("3") == Ended(Reason.IDLE, 3.0, "one")
    assert pools.ended(str(limit + 2)) == Ended(Reason.IDLE, limit + 2.0, "one")
