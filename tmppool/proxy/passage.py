"""What a request needs to reach its notebook, decided before a byte is sent on."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tmppool.proxy.cookies import Jar
from tmppool.proxy.line import Lines
from tmppool.proxy.wire import Request, Response


@dataclass(frozen=True, slots=True)
class Passage:
    """``said`` is what the proxy says of the visitor; ``notice`` goes into the head of Jupyter's own pages.

    ``jar`` knows which cookies the notebook has set.

    ``touch`` notes an interaction for data frames of this WebSocket; None where these are none. ``on_close`` holds
    what is called when the notebook is reaped.
    """

    base_path: str
    lines: Lines
    said: bytes
    jar: Jar = field(default_factory=Jar)
    notice: bytes | None = None
    is_websocket: bool = False
    touch: Callable[[], None] | None = None
    on_close: set[Callable[[], None]] = field(default_factory=set)

    def takes_notice(self, answer: Response) -> bool:
        """Whether this is a page that the notice goes into."""
        first = answer.fields.first
        return (
            self.notice is not None
            and answer.status == 200  # noqa: PLR2004 - OK
            and first.get(b"content-type", b"").lower().startswith(b"text/html")
            and b"content-encoding" not in first
        )


Decide = Callable[[Request, str], Passage | None]
"""Says by which passage a request of this peer goes, None when it is answered here. Raises BadMessageError."""
