"""Parses Host fields that name a notebook, as ``<id>.<base>``, or this machine; compares Origins with them. Pure."""

import ipaddress
import re
from functools import lru_cache

from tmppool.proxy.forwarded import is_loopback

_HOST = re.compile(r"^(?:\[([^\]]*)\]|([^:\[\]]*))(?::([0-9]{1,5}))?$")
_ORIGIN = re.compile(r"(https?)://([A-Z0-9._~-]+|\[[0-9A-F:.]+\])(:[0-9]{1,5})?", re.IGNORECASE | re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


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


def with_port_of(host: str, base: str) -> str:
    """Return a Host field with the port of ``base``, if it has none: proxies may pass on a host without its port."""
    found = _HOST.match(host)
    _, colon, port = base.rpartition(":")
    return f"{host}:{port}" if colon and found is not None and found[3] is None else host


def is_origin(text: str) -> bool:
    """Return True for the origin of a page on the web (RFC 6454 section 6.1); ``null`` and anything else is none."""
    return _ORIGIN.fullmatch(text) is not None


def is_same_origin(origin: str, scheme: str, host: str, *, is_certain: bool = False) -> bool:
    """Return True if an Origin field names the scheme, host and port at which a request arrived (RFC 6454 section 5).

    Unless it ``is_certain``, a known http may be https to the browser: a proxy may terminate TLS without a word. A
    known https never was http. A default port is equal to none, and to the other scheme's, for the same reason.
    """
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        return False
    said = found[1].lower()
    if said != scheme and (is_certain or said == "http"):
        return False
    named, port = _authority(found[2] + (found[3] or ""))
    known, known_port = _authority(host)
    default = _DEFAULT_PORTS[said]
    is_port = known_port in (None, *_DEFAULT_PORTS.values()) and (port or default) == default
    return bool(known) and named == known and (is_port or port == known_port)


def _authority(host: str) -> tuple[str, int | None]:
    """Return name and port of a Host; the name is empty for none.

    It is in lower case, without the dot of the root; an IPv6 address is in its usual spelling (RFC 5952).
    """
    found = _HOST.match(host)
    if found is None:
        return "", None
    name = _compressed(found[1]) if found[1] else (found[2] or "").lower().removesuffix(".")
    return name, None if found[3] is None else int(found[3])


def _compressed(address: str) -> str:
    try:
        return ipaddress.IPv6Address(address).compressed
    except ValueError:
        return address.lower()
