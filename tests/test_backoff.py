"""Growing delay after failure."""

import random

import pytest

from tmppool.backoff import Backoff


class NoJitter(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return 0.0


class MostJitter(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return a


def test_the_delay_doubles_from_first_to_cap() -> None:
    backoff = Backoff(first=1.0, cap=60.0, jitter=NoJitter())
    assert [backoff.failed(0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_what_is_not_transient_waits_the_longest_at_once() -> None:
    backoff = Backoff(first=1.0, cap=60.0, jitter=NoJitter())
    assert (backoff.failed(100.0, is_transient=False), backoff.until) == (60, 160)


def test_nothing_may_be_tried_until_the_delay_is_over() -> None:
    backoff = Backoff(first=2.0, jitter=NoJitter())
    backoff.failed(100.0)
    assert [backoff.may_try(now) for now in (100.0, 101.999, 102.0, 500.0)] == [False, False, True, True]


def test_a_fresh_one_may_try_at_once() -> None:
    assert Backoff().may_try(0.0)


def test_success_starts_over() -> None:
    backoff = Backoff(first=1.0, jitter=NoJitter())
    backoff.failed(100.0)
    backoff.failed(100.0)

    backoff.succeeded()

    assert backoff.may_try(100.0)
    assert backoff.failed(100.0) == 1.0


def test_jitter_shortens_by_a_tenth_at_most() -> None:
    assert Backoff(first=10.0, jitter=MostJitter()).failed(0.0) == pytest.approx(9.0)
    delays = [Backoff(first=10.0, jitter=random.Random(seed)).failed(0.0) for seed in range(200)]
    assert min(delays) >= 9.0
    assert max(delays) <= 10.0
    assert len(set(delays)) > 150


def test_a_thousand_failures_do_not_overflow() -> None:
    backoff = Backoff(first=1.0, cap=60.0, jitter=NoJitter())
    assert {backoff.failed(0.0) for _ in range(1000)} == {1, 2, 4, 8, 16, 32, 60}
    assert backoff.failures == 1000
