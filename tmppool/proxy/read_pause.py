"""The reasons not to read from a visitor for now: their transport is paused for as long as there is one."""

import asyncio
from enum import StrEnum, auto


class Hold(StrEnum):
    """A reason not to read from the visitor for now."""

    AHEAD = auto()  # enough of later requests has come
    TURN = auto()  # what has come waits for its turn
    EXCHANGE = auto()  # what responds takes no more of the body for now


class ReadPause:
    """Pauses the reading of ``transport``, and resumes it when the last hold is gone."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._holds: set[Hold] = set()
        self._has_ended = False

    @property
    def is_held(self) -> bool:
        """True while there is any reason."""
        return bool(self._holds)

    def has(self, why: Hold) -> bool:
        """Return True while there is this reason."""
        return why in self._holds

    def hold(self, why: Hold) -> None:
        """Read no more for now."""
        self._holds.add(why)
        if not (self._has_ended or self._transport.is_closing()):
            self._transport.pause_reading()

    def let_go(self, why: Hold) -> None:
        """Drop one reason; read on if there is no other."""
        if not self._holds:  # nearly always
            return
        self._holds.discard(why)
        if not (self._holds or self._has_ended or self._transport.is_closing()):
            self._transport.resume_reading()

    def end(self) -> None:
        """Leave the transport alone from now on: somebody else reads from it, or nobody."""
        self._has_ended = True
