"""The origins whose pages may embed notebooks and start them by scripts, as --embed-origins lists them. Pure."""

from collections.abc import Iterable

from tmppool.web import hosts

EVERY = "*"


class Embedding:
    """``origins``: each an origin, one whose host begins with ``*.`` for each below the rest, or ``*`` for all."""

    def __init__(self, origins: Iterable[str] = ()) -> None:
        self._origins = tuple(origin.lower() for origin in origins)

    def __bool__(self) -> bool:
        """Return True if any page may."""
        return bool(self._origins)

    @property
    def is_for_all(self) -> bool:
        """True if every page may."""
        return EVERY in self._origins

    def allows(self, origin: str) -> bool:
        """Return True if a page of this origin, an Origin field, may embed notebooks; ``null`` is covered by ``*``."""
        if self.is_for_all:
            return True
        return hosts.is_origin(origin) and any(_matches(pattern, origin.lower()) for pattern in self._origins)

    def covering(self, host: str) -> list[str]:
        """Return the patterns that cover pages at ``host``, with either scheme; not ``*``, which means all pages."""
        pages = [f"{scheme}://{host}" for scheme in ("http", "https")]
        return [each for each in self._origins if each != EVERY and any(_matches(each, page) for page in pages)]

    @property
    def origins(self) -> tuple[str, ...]:
        return self._origins

    @property
    def ancestors(self) -> str:
        """The value of ``frame-ancestors`` for a notebook's pages (CSP Level 3 section 6.4.2.1)."""
        return " ".join(("'self'", *self._origins))


def _matches(pattern: str, origin: str) -> bool:
    scheme, _, host = pattern.partition("://")
    said, _, named = origin.partition("://")
    if host.startswith("*."):
        return said == scheme and named.endswith(host[1:])
    return hosts.is_same_origin(origin, scheme, host, is_certain=True)
