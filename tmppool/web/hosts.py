"""Parses Host fields that name a notebook, as ``<id>.<base>``, or this machine. Pure."""

import re
from functools import lru_cache

from tmppool.proxy.forwarded import is_loopback

_HOST = re.compile(r"^(?:\[([^\]]*)\]|([^:\[\]]*))(?::[0-9]{1,5})?$")


def label_of(host: str, base: str) -> str | None:
    """Return the label before ``base`` in a Host field; None for a host that is not below it.

    The port must match if ``base`` has one.
    """
    host = host.lower()
    if ":" not in base:
        host = host.partition(":")[0]
    return host.removesuffix(f".{base}") if host.endswith(f".{base}") else None


def host_of(notebook_id: str, base: str) -> str:
    return f"{notebook_id}.{base}"


@lru_cache(64)  # called for every request, with few distinct hosts
def is_this_machine(host: str, ip: str = "localhost") -> bool:
    """Return True if a Host field, with or without a port, names this machine's loopback or ``ip``.

    Names below localhost always resolve to loopback (RFC 6761 section 6.3), so no other machine's page has one.
    """
    found = _HOST.match(host)
    name = (found[1] or found[2]).lower() if found else ""
    return bool(name) and (name == ip.lower() or is_loopback(name) or name.endswith(".localhost"))
