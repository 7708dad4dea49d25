"""Between a monotonic clock and the wall's."""

import asyncio
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


class Base:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def test_the_pools_clock_stands_still_while_the_process_is_stopped() -> None:
    base = Base()
    clock = clocks.AwakeClock(base)
    for _ in range(100):
        base.at += 1.1  # a busy loop is late
        assert clock.look() == 0
    assert clock() == pytest.approx(1110.0)
    base.at += 86400
    assert clock() == pytest.approx(1115.0)  # whoever is quicker than the look sees little of it
    assert clock.look() == pytest.approx(86395.0)
    assert clock() == pytest.approx(1115.0)
    base.at += 1
    assert clock() == pytest.approx(1116.0)
    assert clock.look() == 0


async def test_it_goes_on_by_itself_and_says_how_long_it_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "_LOOK", 0.001)
    base, missed = Base(), []
    clock = clocks.AwakeClock(base)
    running = asyncio.ensure_future(clock.run(missed.append))
    for _ in range(3):
        base.at += 4.0
        await asyncio.sleep(0.05)
    assert clock() == pytest.approx(1012.0)
    base.at += 3600.0
    await asyncio.sleep(0.05)
    running.cancel()
    assert missed == [pytest.approx(3595.0)]


@pytest.mark.parametrize("ahead", [86400.0, -86400.0])
def test_the_ledgers_clock_does_not_follow_the_walls(ahead: float, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch, genuine = clocks.Epoch.of(), time.time
    began = epoch.now()
    monkeypatch.setattr(time, "time", lambda: genuine() + ahead)
    for later in (epoch, clocks.Epoch.of(epoch.kept)):
        assert later.now() == pytest.approx(began, abs=10)
        assert later.wall_of(began) == pytest.approx(time.time(), abs=10)


@pytest.mark.parametrize("kept", [None, b"", b"another-boot 5.0", b"nonsense", b"\xff", 7, b"a b c"])
def test_what_says_nothing_of_this_boot_begins_by_the_wall(kept: object) -> None:
    assert clocks.Epoch.of(kept).now() == pytest.approx(time.time(), abs=10)
