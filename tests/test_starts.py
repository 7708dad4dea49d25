"""What a pool knows of its starts: failures, backoff, notebooks that end young, and when a proof is due."""

import random

import pytest

from tmppool.starts import PROOF, YOUNG, Starts, Trouble


class NoJitter(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


@pytest.fixture
def starts() -> Starts:
    made = Starts(0.0)
    made.backoff.jitter = NoJitter()
    return made


def test_failures_one_after_the_other_double_the_wait_up_to_ten_seconds(starts: Starts) -> None:
    now, waits = 100.0, []
    for _ in range(6):
        waits.append(starts.failed(now, now + 1, "no"))
        now = starts.backoff.until
    assert waits == [1, 2, 4, 8, 10, 10]
    assert starts.trouble == Trouble("no", 101.0)
    assert starts.at_once(8) == 1


def test_of_starts_that_were_under_way_together_the_first_failure_counts(starts: Starts) -> None:
    assert [starts.failed(100.0, 101.0 + number / 10, f"no {number}") for number in range(5)] == [
        pytest.approx(1 - number / 10) for number in range(5)
    ]
    assert starts.backoff.failures == 1
    assert starts.trouble == Trouble("no 4", 101.0)


def test_a_failure_that_no_early_retry_can_help_waits_for_a_minute(starts: Starts) -> None:
    assert starts.failed(100.0, 101.0, "no image", is_transient=False) == 60


def test_a_start_that_succeeds_ends_the_trouble(starts: Starts) -> None:
    starts.failed(100.0, 101.0, "no")
    starts.succeeded(103.0)
    assert (starts.trouble, starts.backoff.failures, starts.at_once(8)) == (None, 0, 8)


@pytest.mark.parametrize(("age", "is_failure"), [(0.0, True), (YOUNG - 0.1, True), (YOUNG, False), (1e6, False)])
def test_whoever_ends_young_is_a_failed_start(starts: Starts, age: float, is_failure: bool) -> None:  # noqa: FBT001
    delay = starts.ended(100.0, 100.0 + age, "it ended")
    assert delay == (1.0 if is_failure else None)
    assert (starts.trouble is not None) == is_failure


def test_one_that_ended_young_may_be_an_accident(starts: Starts) -> None:
    for _ in range(2):  # that were warm together
        starts.ended(100.0, 103.0, "it ended")
    starts.succeeded(105.0)
    assert (starts.trouble, starts.backoff.failures) == (None, 0)


def test_after_a_second_one_that_ended_young_only_one_that_lives_proves_that_starts_succeed(starts: Starts) -> None:
    starts.ended(90.0, 95.0, "it ended")
    starts.succeeded(100.0)
    starts.ended(100.0, 103.0, "it ended")
    starts.succeeded(106.0)
    starts.lived(90.0, 200.0)  # an older one says nothing about it
    starts.lived(106.0, 106.0 + YOUNG - 1)
    assert starts.trouble == Trouble("it ended", 103.0)
    assert starts.wakes_in([90.0, 106.0], 110.0) == 106.0 + YOUNG - 110.0
    starts.lived(106.0, 106.0 + YOUNG)
    assert (starts.trouble, starts.backoff.failures) == (None, 0)
    assert starts.wakes_in([106.0], 110.0) is None
    starts.ended(140.0, 141.0, "it ended")
    starts.succeeded(142.0)
    assert starts.trouble is None


def test_an_image_whose_notebooks_end_young_is_started_more_and_more_rarely(starts: Starts) -> None:
    now, began = 0.0, 0
    while now < 120.0:
        began += 1
        starts.succeeded(now)
        starts.ended(now, now + 3, "it ended")
        now = max(now + 3, starts.backoff.until)
    assert began <= 14


def test_an_illness_of_the_backend_excuses_failures_and_ends(starts: Starts) -> None:
    starts.failed(100.0, 101.0, "no")
    starts.ended(102.0, 103.0, "it ended")
    starts.forget(110.0)
    assert (starts.trouble, starts.backoff.may_try(110.0)) == (None, True)
    assert starts.ended(105.0, 110.0 + YOUNG - 1, "the engine took it along") is None
    assert starts.ended(130.0, 110.0 + YOUNG, "it ended") == 1.0


def test_a_proof_is_due_when_nothing_was_started_for_long(starts: Starts) -> None:
    assert [starts.is_proof_due(at) for at in (0.0, PROOF - 1, PROOF)] == [False, False, True]
    starts.succeeded(PROOF)
    assert not starts.is_proof_due(2 * PROOF - 1)
    starts.failed(PROOF, 2 * PROOF, "no")
    assert not starts.is_proof_due(3 * PROOF - 1)
