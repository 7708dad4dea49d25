"""Recognises requests that no person made: prefetches, and crawlers by their user agent.

This is a courtesy, not a protection: a user agent is easily forged. The pool is protected because GET assigns nothing
and a start needs a ticket. So a person who is mistaken for a crawler can press the button.
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
"""Tags of crawlers that never act for a person; HTTP libraries and automated browsers may be somebody's tool."""

_LONGEST = 512  # characters of a user agent that are read
_TOGETHER = 25  # patterns per expression: more are slower, as the list's own package found


def is_prefetch(fields: MultiMapping[str]) -> bool:
    """Return True for a prefetch (Fetch, ``Sec-Purpose``, and the fields that preceded it)."""
    return any(_AHEAD.search(value) for name in _AHEAD_FIELDS for value in fields.getall(name, ()))


def is_crawler(fields: MultiMapping[str]) -> bool:
    """Return True for the user agent of a crawler, unless a user gesture caused the request (Fetch Metadata)."""
    if fields.get("Sec-Fetch-User") == "?1":
        return False
    name = fields.get("User-Agent", "")[:_LONGEST]
    return any(pattern.search(name) for pattern in _patterns())


@cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    known = [crawler["pattern"] for crawler in CRAWLER_USER_AGENTS_DATA if KINDS.intersection(crawler.get("tags", ()))]
    return tuple(re.compile("|".join(known[at : at + _TOGETHER])) for at in range(0, len(known), _TOGETHER))


_patterns()  # compiled now, not at the first click
