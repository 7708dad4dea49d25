"""However often something happens, there is a line a minute, and no occurrence is missing from the counts."""

from tmppool.proxy.rare_warning import PAUSE, RareWarning


def test_the_first_is_logged_at_once_and_the_others_are_counted_until_a_minute_has_passed() -> None:
    warning = RareWarning()
    assert [warning.note(now) for now in (0.0, 0.1, PAUSE - 0.1, PAUSE, PAUSE + 0.1, 3 * PAUSE)] == [1, 0, 0, 3, 0, 2]


def test_a_flood_is_one_line_a_minute() -> None:
    warning = RareWarning()
    counts = [warning.note(number / 100) for number in range(60_000)]
    assert len([count for count in counts if count]) == 10
    assert sum(counts) > 60_000 - 6_001
