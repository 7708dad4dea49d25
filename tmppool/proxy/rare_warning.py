"""A warning that others can cause as often as they like, logged once a minute with its count. Pure."""

PAUSE = 60.0  # seconds from one line to the next


class RareWarning:
    """The occurrences of one kind of warning."""

    def __init__(self) -> None:
        self._unlogged = 0
        self._logged_at = float("-inf")

    def note(self, now: float) -> int:
        """Count an occurrence; return how many there were since the last line if it is time for the next, else 0."""
        self._unlogged += 1
        if now - self._logged_at < PAUSE:
            return 0
        count, self._unlogged, self._logged_at = self._unlogged, 0, now
        return count
