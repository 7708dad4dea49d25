"""Requests without a person behind them: prefetches of browsers, and crawlers by the name that they give.

A courtesy, not the guard: a name costs nothing to change. What guards the pool is that a look takes nothing and that
a start needs a ticket. So a person who is taken for a crawler gets through by pressing the button.
"""

import re
from functools import cache

from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from multidict import MultiMapping

_AHEAD = re.compile(r"\b(prefetch|prerender|preview)\b", re.IGNORECASE)
_AHEAD_FIELDS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")

KINDS = frozenset(
    {"search-engine", "social-preview", "ai-crawler", "seo", "advertising", "archiver", "feed-reader", "scanner"}
)
"""The list's kinds of crawlers that never bring a person; libraries and driven browsers may be somebody's tool."""

_LONGEST = 512  # characters of a name that are looked at
_TOGETHER = 25  # patterns in one expression: more make it slow, as the list's own package found


def is_prefetch(fields: MultiMapping[str]) -> bool:
    """Return True for a prefetch, which no person asked for (Fetch, ``Sec-Purpose``, and what came before it)."""
    return any(_AHEAD.search(value) for name in _AHEAD_FIELDS for value in fields.getall(name, ()))


def is_crawler(fields: MultiMapping[str]) -> bool:
    """Return True for a crawler that says its name, unless a person's gesture made it ask (Fetch Metadata)."""
    if fields.get("Sec-Fetch-User") == "?1":
        return False
    name = fields.get("User-Agent", "")[:_LONGEST]
    return any(pattern.search(name) for pattern in _patterns())


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    known = [crawler["pattern"] for crawler in CRAWLER_USER_AGENTS_DATA if KINDS.intersection(crawler.get("tags", ()))]
    return tuple(re.compile("|".join(known[at : at + _TOGETHER])) for at in range(0, len(known), _TOGETHER))


_patterns()  # compiled now, not at the first click
