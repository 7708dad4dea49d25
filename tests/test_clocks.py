"""Between a monotonic clock and the wall's."""

import time

import pytest

from tmppool import clocks


@pytest.mark.parametrize("ahead", [0.0, 30.0, -30.0])
def test_a_moment_of_another_clock_is_as_far_away_on_the_wall(ahead: float) -> None:
    assert clocks.wall_of(1000.0 + ahead, 1000.0) == pytest.approx(time.time() + ahead, abs=1)


@pytest.mark.parametrize("ahead", [0.0, 30.0, -30.0])
def test_how_far_a_wall_time_is_away(ahead: float) -> None:
    assert clocks.seconds_until(time.time() + ahead) == pytest.approx(ahead, abs=1)
    assert clocks.seconds_until(clocks.wall_of(5.0 + ahead, 5.0)) == pytest.approx(ahead, abs=1)
