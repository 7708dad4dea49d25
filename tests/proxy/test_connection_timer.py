"""When one connection has been waited for too long: all by the numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmppool.proxy.connection_timer import ConnectionTimer
from tmppool.proxy.timeouts import Timeouts

DEADLINES = Timeouts(head=10, idle=75, body_start=10, body_pause=30, body_rate=1000, response_head=5)
BODY = object()


@pytest.fixture
def timer() -> ConnectionTimer:
    return ConnectionTimer(DEADLINES, 100.0)


def late(
    timer: ConnectionTimer,
    now: float,
    size: int = 0,
    *,
    body: object = BODY,
    held: bool = False,
    wanted: bool = True,
):
    timer.body_size += size
    return timer.is_body_late(body, now, is_wanted=wanted, is_held=held)


def test_the_first_head_is_due_from_the_connection_on(timer: ConnectionTimer) -> None:
    assert not timer.is_head_late(110.0)
    assert timer.is_head_late(110.1)


def test_after_an_answer_there_is_time_until_the_next_head_begins(timer: ConnectionTimer) -> None:
    timer.await_request(200.0)
    assert not timer.is_head_late(275.0)
    assert timer.is_head_late(275.1)
    timer.head_begins(275.0)
    assert not timer.is_head_late(285.0)
    assert timer.is_head_late(285.1)


def test_who_still_takes_their_last_answer_is_not_late(timer: ConnectionTimer) -> None:
    timer.await_request(200.0)
    timer.response_is_unread(270.0)
    assert not timer.is_head_late(345.0)
    assert timer.is_head_late(345.1)


def test_a_body_of_which_nothing_comes_ends_after_its_first_seconds(timer: ConnectionTimer) -> None:
    assert not late(timer, 200.0)
    assert not late(timer, 210.0)
    assert late(timer, 210.1)


def test_a_body_at_the_least_rate_goes_on_for_ever_and_a_slower_one_does_not(timer: ConnectionTimer) -> None:
    late(timer, 200.0)
    assert not any(late(timer, 201.0 + second, 1000) for second in range(10_000))
    slower = ConnectionTimer(DEADLINES, 0.0)
    late(slower, 200.0)
    assert [late(slower, 201.0 + second, 900) for second in range(200)].index(True) in (100, 101)


def test_bytes_that_came_buy_no_more_than_the_longest_pause(timer: ConnectionTimer) -> None:
    late(timer, 200.0, 10**9)
    assert not late(timer, 230.0)
    assert late(timer, 230.1)


def test_while_the_notebook_does_not_take_it_a_body_has_time(timer: ConnectionTimer) -> None:
    late(timer, 200.0)
    assert not late(timer, 205.0, held=True)
    assert not late(timer, 500.0)  # held until just now
    assert not late(timer, 510.0)
    assert late(timer, 510.1)


def test_a_body_that_is_complete_is_waited_for_no_more(timer: ConnectionTimer) -> None:
    late(timer, 200.0)
    assert not late(timer, 1000.0, wanted=False)


def test_each_body_has_its_own_seconds(timer: ConnectionTimer) -> None:
    late(timer, 200.0)
    late(timer, 209.0)
    assert not late(timer, 219.0, body=object())


def test_the_bytes_of_the_request_before_are_forgotten(timer: ConnectionTimer) -> None:
    timer.body_size = 10**9
    timer.await_request(200.0)
    late(timer, 200.0)
    assert late(timer, 210.1)


def test_an_answer_may_take_for_ever_to_begin_and_not_to_end_its_head(timer: ConnectionTimer) -> None:
    assert not timer.is_response_head_late(200.0, has_begun=False)
    assert not timer.is_response_head_late(90_000.0, has_begun=True)
    assert not timer.is_response_head_late(90_005.0, has_begun=True)
    assert timer.is_response_head_late(90_005.1, has_begun=True)


def test_each_head_of_an_answer_has_its_own_seconds(timer: ConnectionTimer) -> None:
    timer.is_response_head_late(200.0, has_begun=True)
    timer.is_response_head_late(204.0, has_begun=False)
    assert not timer.is_response_head_late(208.0, has_begun=True)


@given(looks=st.lists(st.tuples(st.floats(0.01, 5), st.integers(0, 3000)), min_size=1))
def test_no_body_stays_below_the_least_rate_for_longer_than_its_longest_pause(looks: list[tuple[float, int]]) -> None:
    timer, now, bought = ConnectionTimer(DEADLINES, 0.0), 0.0, 0.0
    late(timer, 0.0)
    for seconds, size in looks:
        now += seconds
        bought += size / DEADLINES.body_rate
        if late(timer, now, size):
            return
    assert now - bought <= DEADLINES.body_start + 1e-6
