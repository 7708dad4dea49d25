"""The time that one connection has taken for what it is at, and the decision that it is too long. Pure."""

from tmppool.proxy.timeouts import Timeouts


class ConnectionTimer:
    """``now`` is the watchdog's time, in seconds.

    ``body_size``: bytes of a body that came since the last check. ``awaits_head``: the time of a head runs, from the
    connection or the head's first byte on, rather than the longer one between two requests.
    """

    def __init__(self, timeouts: Timeouts, now: float) -> None:
        self._timeouts = timeouts
        self.awaits_head = True
        self._since = now
        self._checked_at = now
        self._response_since: float | None = None
        self._body: object = None
        self._remaining = 0.0
        self.body_size = 0
        self._was_held = False

    def await_request(self, now: float) -> None:
        """A request and its response are complete."""
        self.awaits_head = False
        self.body_size = 0
        self._since = now

    def head_begins(self, now: float) -> None:
        self.awaits_head = True
        self._since = now

    def response_is_unread(self, now: float) -> None:
        """The visitor has not taken the last response yet."""
        self._since = now

    def is_head_late(self, now: float) -> bool:
        """Return True if the next head should have begun, or be complete, by now."""
        timeouts = self._timeouts
        return now - self._since > (timeouts.head if self.awaits_head else timeouts.idle)

    def is_body_late(self, body: object, now: float, *, is_wanted: bool, is_held: bool) -> bool:
        """Return True if ``body`` comes too slowly: its seconds are spent as they pass and earned by its bytes.

        ``is_held``: the notebook does not take it, so its visitor cannot be blamed.
        """
        timeouts = self._timeouts
        passed, self._checked_at = now - self._checked_at, now
        size, self.body_size = self.body_size, 0
        was_held, self._was_held = self._was_held or is_held, is_held
        is_new, self._body = self._body is not body, body
        if is_new:
            self._remaining, self._response_since = timeouts.body_start, None
        if is_new or was_held or not is_wanted:
            passed = 0.0
        most = max(timeouts.body_start, timeouts.body_pause)
        self._remaining = min(most, self._remaining + size / timeouts.body_rate - passed)
        return self._remaining < 0

    def is_response_head_late(self, now: float, *, has_begun: bool) -> bool:
        """Return True if the head of a response, once it has begun, should be complete by now."""
        if not has_begun:
            self._response_since = None
        elif self._response_since is None:
            self._response_since = now
        return self._response_since is not None and now - self._response_since > self._timeouts.response_head
