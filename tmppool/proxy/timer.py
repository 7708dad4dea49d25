"""How long one connection has been waited for, and whether that is too long. Pure."""

from tmppool.proxy.timeouts import Timeouts


class ConnectionTimer:
    """``now`` is the sweep's time, in seconds.

    ``body_size``: bytes of a body that came since the last look.
    """

    def __init__(self, timeouts: Timeouts, now: float) -> None:
        self._deadlines = timeouts
        self.awaits_head = True
        self._since = now
        self._looked_at = now
        self._answer_since: float | None = None
        self._body: object = None
        self._left = 0.0
        self.body_size = 0
        self._was_held = False

    def rest(self, now: float) -> None:
        """A request and its answer are complete."""
        self.awaits_head = False
        self.body_size = 0
        self._since = now

    def head_began(self, now: float) -> None:
        self.awaits_head = True
        self._since = now

    def extend_rest(self, now: float) -> None:
        """The visitor has not taken the last answer yet."""
        self._since = now

    def ends_rest(self, now: float) -> bool:
        """Whether the next head should have begun, or be complete."""
        timeouts = self._deadlines
        return now - self._since > (timeouts.head if self.awaits_head else timeouts.idle)

    def ends_body(self, body: object, now: float, *, is_wanted: bool, is_held: bool) -> bool:
        """Whether ``body`` comes too slowly: its seconds are spent as they pass and earned by its bytes.

        ``is_held``: the notebook does not take it, so its visitor cannot be blamed.
        """
        timeouts = self._deadlines
        passed, self._looked_at = now - self._looked_at, now
        size, self.body_size = self.body_size, 0
        was_held, self._was_held = self._was_held or is_held, is_held
        is_new, self._body = self._body is not body, body
        if is_new:
            self._left, self._answer_since = timeouts.body_start, None
        if is_new or was_held or not is_wanted:
            passed = 0.0
        most = max(timeouts.body_start, timeouts.body_pause)
        self._left = min(most, self._left + size / timeouts.body_rate - passed)
        return self._left < 0

    def ends_answer(self, now: float, *, has_begun: bool) -> bool:
        """Whether the head of an answer, once it has begun, should be complete."""
        if not has_begun:
            self._answer_since = None
        elif self._answer_since is None:
            self._answer_since = now
        return self._answer_since is not None and now - self._answer_since > self._deadlines.answer_head
