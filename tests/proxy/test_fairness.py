"""Turns for small chunks: in order, bounded for all together, and nothing stays of who has left."""

import asyncio

import pytest

from tmppool.proxy import fairness as module
from tmppool.proxy.fairness import BURST, Turn, TurnQueue


@pytest.fixture
async def turns() -> TurnQueue:
    return TurnQueue(asyncio.get_running_loop())


async def test_who_waits_gets_a_slice_and_the_longest_waiting_gets_it_first(turns: TurnQueue) -> None:
    came: list[str] = []
    waiting = {name: Turn(turns, lambda name=name: came.append(name)) for name in "abc"}
    for turn in waiting.values():
        turn.remaining = 0
        turn.wait()
    assert all(turn.is_awaited for turn in waiting.values())
    assert came == []
    waiting["a"].wait()  # and waits no longer for that
    await asyncio.sleep(0.1)
    assert came == ["a", "b", "c"]
    assert [turn.remaining for turn in waiting.values()] == [module._SLICE] * 3
    assert not any(turn.is_awaited for turn in waiting.values())
    assert turns._timer is None


async def test_whoever_wants_more_goes_to_the_end_of_the_queue(turns: TurnQueue) -> None:
    came: list[str] = []

    def make(name: str) -> Turn:
        def go_on() -> None:
            came.append(name)
            if len(came) < 9:
                turn.wait()

        turn = Turn(turns, go_on)
        return turn

    for name in "abc":
        make(name).wait()
    await asyncio.sleep(0.2)
    assert "".join(came).startswith("abcabcabc")


async def test_all_together_get_no_more_than_one_turn_a_pause(turns: TurnQueue) -> None:
    came = 0

    def go_on(turn: Turn) -> None:
        nonlocal came
        came += 1
        turn.wait()

    for _ in range(50):
        turn = Turn(turns, lambda: None)
        turn._go_on = lambda turn=turn: go_on(turn)
        turn.wait()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.sleep(0.2)
    assert 0 < came <= (loop.time() - began) / module._PAUSE + 1
    turns.close()


async def test_who_has_left_is_not_called_and_leaves_nothing(turns: TurnQueue) -> None:
    came: list[str] = []
    gone, stays = Turn(turns, lambda: came.append("gone")), Turn(turns, lambda: came.append("stays"))
    for turn in (gone, stays):
        turn.wait()
    gone.leave()
    gone.leave()
    assert list(turns.queue) == [stays]
    await asyncio.sleep(0.05)
    assert came == ["stays"]
    assert not turns.queue


async def test_a_queue_that_all_have_left_comes_to_rest(turns: TurnQueue) -> None:
    turn = Turn(turns, lambda: None)
    turn.wait()
    turn.leave()
    await asyncio.sleep(0.05)
    assert turns._timer is None
    turn.wait()
    assert turns._timer is not None
    turns.close()
    assert turns._timer is None
    assert not turn.is_awaited


async def test_what_a_sender_may_send_at_once_comes_back_with_time(turns: TurnQueue) -> None:
    turn = Turn(turns, lambda: None)
    assert turn.remaining == BURST
    turn.renew()
    assert turn.remaining == BURST
    turn.remaining = 0
    seen = []
    for _ in range(4):
        turn.renew()
        seen.append(turn.remaining)
    assert seen == [100, 200, BURST, BURST]


async def test_a_turn_takes_nothing_of_what_a_sender_has_left(turns: TurnQueue) -> None:
    turn = Turn(turns, lambda: None)
    turn.wait()
    await asyncio.sleep(0.05)
    assert turn.remaining == BURST
