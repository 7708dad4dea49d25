"""The client of a request, when proxies in front may or may not be believed. Pure."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from multidict import MultiMapping

from tmppool.proxy import target

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Client:
    """``address`` is the visitor's, as text; ``scheme`` and ``host`` are what the visitor's browser used."""

    address: str
    scheme: str
    host: str


def networks(words: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks that CIDR ``words`` name, as ``10.0.0.0/8``. Raises ValueError."""
    return tuple(ipaddress.ip_network(word, strict=False) for word in words)


def identify(peer: str, headers: MultiMapping[str], trusted: Sequence[Network], scheme: str = "http") -> Client:
    """Return the client of a request.

    Only a trusted peer is believed. The client is the right-most address of X-Forwarded-For that is not itself
    trusted; an entry that is no address ends the search at the peer before it. An X-Forwarded-Host that is no host is
    passed over.
    """
    host = headers.get("Host", "")
    peer = plain(peer)
    if not trusted or not is_trusted(peer, trusted):
        return Client(peer, scheme, host)
    address = peer
    hops = [hop.strip() for value in headers.getall("X-Forwarded-For", ()) for hop in value.split(",")]
    for hop in reversed(hops):
        if parse(hop) is None:
            break
        address = hop
        if not is_trusted(hop, trusted):
            break
    forwarded_scheme = headers.get("X-Forwarded-Proto", headers.get("X-Scheme", "")).lower()
    known_scheme = forwarded_scheme if forwarded_scheme in ("http", "https") else scheme
    forwarded_host = headers.get("X-Forwarded-Host", "")
    return Client(address, known_scheme, forwarded_host if _is_host(forwarded_host) else host)


def _is_host(text: str) -> bool:
    """Return True if this can be a Host: many a proxy passes on what the visitor has sent, and links are made of it."""
    return target.is_host(text.encode(errors="replace"))


@lru_cache(4096)  # asked for every request
def plain(address: str) -> str:
    """Return an address in its usual spelling, one that IPv6 wraps as IPv4; any other text stays as it is."""
    return str(parse(address) or address)


def is_loopback(name: str) -> bool:
    """Return True if only this machine is reached by that address or name."""
    address = parse(name)
    return name.lower() == "localhost" if address is None else address.is_loopback


def parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address, as IPv4 where IPv6 wraps it (RFC 4291 section 2.5.5.2); None for anything else."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if getattr(found, "scope_id", None):
        return None  # a zone is any text (RFC 4007 section 11.2), and means nothing to others
    return getattr(found, "ipv4_mapped", None) or found


def is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    address = parse(text)
    return address is not None and any(address in network for network in trusted)
