"""Tells of requests that were refused, perhaps for what the proxy in front did to them.

It tells the operator, in the log, and the visitor, in the notebook.
"""

import time
from collections.abc import Callable

import structlog
from cachetools import TTLCache

from tmppool.web import hosts
from tmppool.web.kinds import REFUSED_FOR_ORIGIN, Kind
from tmppool.web.visit import Visit

_PAUSE = 60.0  # seconds between two lines of one cause
_REMEMBERED = 1000  # notebooks
_LONGEST = 200  # characters of a value that a visitor has sent

_BROWSER_SAID = "the browser says that a page of another site sent this request: nothing has to be set"
_NO_URL = (
    "if the page is this service's own, the proxy in front changes its host: set --public-url to the URL in the"
    " browser, let the proxy pass the browser's Host on (nginx: proxy_set_header Host $http_host), or add it to"
    " --trusted-proxies if it sets X-Forwarded-Host"
)
_OTHER_URL = "if the page is this service's own, --public-url is not the URL in the browser: set it to that"

_NO_UPGRADE = (
    "the proxy in front removed Upgrade and Connection from a WebSocket's handshake, so that no cell runs: let it pass"
    " them on (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;"
    ' proxy_set_header Connection "upgrade";)'
)
_LOST_HOST = (
    "a browser that was sent to a notebook's own host name (--domain-per-notebook) arrived at this one: let the proxy"
    " in front pass the browser's Host on (nginx: proxy_set_header Host $http_host;)"
)

_log = structlog.get_logger("tmppool.web")


class Refusals:
    """Logs each cause at most once a minute. For a minute it remembers each notebook whose own pages may be cut off.

    ``has_public_url``: the origin that was expected is that of --public-url.
    """

    def __init__(self, *, has_public_url: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._advice = _OTHER_URL if has_public_url else _NO_URL
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._notebooks: TTLCache[str, bool] = TTLCache(_REMEMBERED, _PAUSE, clock)

    def note(self, visit: Visit, kind: Kind) -> None:
        """Note a request that was refused for its origin, a lost Upgrade or a lost host; others are ignored."""
        if kind is Kind.LOST_HOST:
            if self._is_due(_LOST_HOST):
                _log.warning("host.lost", host=visit.client.host[:_LONGEST], message=_LOST_HOST)
        elif kind is Kind.NO_UPGRADE:
            self._cut_off(visit)
            if self._is_due(_NO_UPGRADE):
                _log.warning("websocket.no_upgrade", message=_NO_UPGRADE)
        elif kind in REFUSED_FOR_ORIGIN:
            self._note_origin(visit)

    def cuts_off(self, key: str) -> bool:
        """Return True if a page of this notebook was probably refused within the last minute."""
        return key in self._notebooks

    def _note_origin(self, visit: Visit) -> None:
        if visit.is_judged_by_origin:
            self._cut_off(visit)
        message = self._advice if visit.is_judged_by_origin else _BROWSER_SAID
        if self._is_due(message):
            _log.warning(
                "origin.refused",
                origin=_shown(visit.request.fields.first.get(b"origin", b"").decode("latin-1")),
                expected=f"{visit.client.scheme}://{visit.client.host}"[:_LONGEST],
                message=message,
            )

    def _cut_off(self, visit: Visit) -> None:
        if visit.key is not None:
            self._notebooks[visit.key] = True

    def _is_due(self, message: str) -> bool:
        """Return True, and count it as logged, unless it was in the last minute."""
        now = self._clock()
        is_due = now - self._logged_at.get(message, float("-inf")) >= _PAUSE
        if is_due:
            self._logged_at[message] = now
        return is_due


def _shown(origin: str) -> str:
    """Return what a visitor sent as Origin, if it is one: anything else may hold whatever they like."""
    if not origin:
        return "none sent"
    return origin[:_LONGEST] if origin == "null" or hosts.is_origin(origin) else "not an origin"
