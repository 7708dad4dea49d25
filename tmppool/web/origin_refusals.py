"""Tells of requests that were refused for their origin: the operator in the log, the visitor in the notebook."""

import time
from collections.abc import Callable

import structlog
from cachetools import TTLCache

from tmppool.web import hosts
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

_log = structlog.get_logger("tmppool.web")


class OriginRefusals:
    """Logs each cause at most once a minute. For a minute it remembers each notebook whose own pages may be concerned.

    ``has_public_url``: the origin that was expected is that of --public-url.
    """

    def __init__(self, *, has_public_url: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._advice = _OTHER_URL if has_public_url else _NO_URL
        self._clock = clock
        self._logged_at: dict[bool, float] = {}
        self._notebooks: TTLCache[str, bool] = TTLCache(_REMEMBERED, _PAUSE, clock)

    def note(self, visit: Visit) -> None:
        """Note a request that was refused for its origin."""
        is_compared = visit.is_judged_by_origin
        if is_compared and visit.key is not None:
            self._notebooks[visit.key] = True
        now = self._clock()
        if now - self._logged_at.get(is_compared, float("-inf")) < _PAUSE:
            return
        self._logged_at[is_compared] = now
        _log.warning(
            "origin.refused",
            origin=_shown(visit.request.fields.first.get(b"origin", b"").decode("latin-1")),
            expected=f"{visit.client.scheme}://{visit.client.host}"[:_LONGEST],
            message=self._advice if is_compared else _BROWSER_SAID,
        )

    def concerns(self, key: str) -> bool:
        """Return True if a page of this notebook was probably refused within the last minute."""
        return key in self._notebooks


def _shown(origin: str) -> str:
    """Return what a visitor sent as Origin, if it is one: anything else may hold whatever they like."""
    if not origin:
        return "none sent"
    return origin[:_LONGEST] if origin == "null" or hosts.is_origin(origin) else "not an origin"
