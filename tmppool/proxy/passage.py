"""What a request needs to reach its notebook, decided before a byte is sent on."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tmppool.proxy.line import Lines
from tmppool.proxy.wire import Request


@dataclass(frozen=True, slots=True)
class Passage:
    """``said`` is what the proxy says of the visitor; ``notice`` goes into the head of Jupyter's own pages.

    ``touch`` notes an interaction for data frames of this WebSocket; None where these are none. ``on_close`` holds
    what is called when the notebook is reaped.
    """

    base_path: str
    lines: Lines
    said: bytes
    notice: bytes | None = None
    is_websocket: bool = False
    touch: Callable[[], None] | None = None
    on_close: set[Callable[[], None]] = field(default_factory=set)


Decide = Callable[[Request, str], Passage | None]
"""Says by which passage a request of this peer goes, None when it is answered here. Raises BadMessageError."""
