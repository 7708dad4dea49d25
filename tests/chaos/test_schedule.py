"""A seed reproduces the faults, their order and their moments; and what is wrong is said."""

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.outcome import Outcome, given_twice, warnings
from tests.chaos.schedule import steps


def test_a_seed_gives_the_same_faults_at_the_same_moments_and_another_gives_others() -> None:
    first = list(steps(1, FAULTS.values()))
    assert first == list(steps(1, FAULTS.values()))
    assert [step.fault for step in first] != [step.fault for step in steps(2, FAULTS.values())]
    assert {step.fault.name for step in first} == set(FAULTS)
    assert all(step.seconds >= step.fault.seconds for step in first)


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome("a", full=3), []),
        (Outcome("a"), ["it was never full again"]),
        (Outcome("a", full=16), ["full again after 16.0 s, more than 15"]),
        (Outcome("a", must_be_known=True, full=1), ["the health said nothing"]),
        (Outcome("a", must_be_known=True, known=6, full=1), ["known after 6.0 s, more than 5"]),
        (Outcome("a", known=6, full=1), []),
        (Outcome("a", lost=["one"], twice=["two"], leaked=["three"], wrong=["four"], full=1),
         ["lost: one", "given twice: two", "leaked: three", "four"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(outcome: Outcome, said: list[str]) -> None:
    assert outcome.faults(slack=1) == said


def test_a_key_that_was_given_twice_is_found() -> None:
    assert given_twice(["a", "b", "a", "a"]) == ["one notebook to 3 visitors"]
    assert given_twice(["a", "b"]) == []


def test_what_the_service_warned_of_is_told_once() -> None:
    line = '{"event": "start.failed", "level": "error", "error": "no space", "pool": "a"}'
    log = f'http://127.0.0.1:8000/\n{line}\n{line}\n{{"event": "pool.warmed", "level": "info"}}\n{{"event": "cut'
    assert warnings(log) == ["start.failed no space"]
