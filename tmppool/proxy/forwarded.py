"""The client of a request, when proxies in front may or may not be believed. Pure but for ``Habits``."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cachetools import LRUCache
from multidict import MultiMapping

from tmppool.proxy import target

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOOPBACK = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}  # Traefik says ws and wss for WebSockets
_PORT = re.compile(r"(?!0*(?:80|443)$)[0-9]{1,5}")
_HAS_PORT = re.compile(r":[0-9]+$")
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[\w.-]+))?")
_MOST_HOPS = 20  # from the right; no request passes through as many proxies
_MOST_READ = 2048  # characters of Forwarded, from the right
_ELEMENT = re.compile(r"""((?:[^",]|"(?:[^"\\]|\\.)*+")*+)(,?)""")
_PIECE = re.compile(
    r"""(?P<name>[\w!#$%&'*+.^`|~-]+)=(?:(?P<bare>[^\s",;\\]+)|"(?P<quoted>(?:[^"\\]|\\.)*+)")|[; \t]+""",
    re.ASCII,
)
_MOST_PROXIES = 256
_X_FORWARDED, _FORWARDED = range(2)  # the families of fields
_MALFORMED = {"for": "_malformed"}
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Client:
    """``address`` is the visitor's, as text; ``scheme`` and ``host`` are what the visitor's browser used.

    ``bare_host`` is the host without a port that a proxy told apart (X-Forwarded-Port), if it did: that may be a port
    of its own inside a container, where the browser used another.
    """

    address: str
    scheme: str
    host: str
    bare_host: str = ""


class Habits:
    """The family of fields, X-Forwarded-* or Forwarded, that each trusted proxy writes itself, as far as it is known.

    Most write X-Forwarded-For, into every request, and pass on Forwarded as the visitor sent it. So that is believed,
    unless the proxy is one that writes Forwarded: some request came without the other, and none without this.
    """

    def __init__(self) -> None:
        self._missing: LRUCache[str, frozenset[int]] = LRUCache(_MOST_PROXIES)

    def choose(self, peer: str, told: tuple[str, str]) -> str:
        """Return the address to believe of those told by X-Forwarded-For and by Forwarded, each empty if it is missing.

        It is empty where none can be believed.
        """
        known = self._missing.get(peer, frozenset())
        missing = frozenset(family for family, address in enumerate(told) if not address)
        if len(missing) == 1 and not missing <= known:
            self._missing[peer] = known | missing
        writes_forwarded = known == {_X_FORWARDED}
        x_forwarded_for, forwarded = told
        if _FORWARDED in known and not x_forwarded_for:
            return ""  # a visitor's own
        return forwarded if forwarded and (writes_forwarded or not x_forwarded_for) else x_forwarded_for


def networks(words: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks that CIDR ``words`` name, as ``10.0.0.0/8``. Raises ValueError.

    One in loopback stands for all of it: a proxy that connects to ``localhost`` takes 127.0.0.1 and ::1 in turn.
    """
    found = tuple(_unmapped(ipaddress.ip_network(word, strict=False)) for word in words)
    is_local = any(network.is_loopback for network in found)
    return tuple(dict.fromkeys((*found, *_LOOPBACK))) if is_local else found


def _unmapped(network: Network) -> Network:
    """Return the IPv4 network of an IPv4-mapped one (``::ffff:10.0.0.0/104``), as clients' addresses are plain."""
    first = getattr(network.network_address, "ipv4_mapped", None)
    mapped_bits = 128 - 32  # RFC 4291 section 2.5.5.2
    if first is None or network.prefixlen < mapped_bits:
        return network
    return ipaddress.IPv4Network((first, network.prefixlen - mapped_bits))


def identify(
    peer: str,
    headers: MultiMapping[str],
    trusted: Sequence[Network],
    scheme: str = "http",
    habits: Habits | None = None,
) -> Client:
    """Return the client of a request.

    Only a trusted peer is believed. Where X-Forwarded-For and Forwarded tell of different addresses, the one counts
    that the peer writes itself, as its ``habits`` tell. Scheme and host are those of X-Forwarded-*, else of Forwarded:
    no page can set either, and a visitor deceives only themselves.
    """
    host = headers.get("Host", "")
    peer = plain(peer)
    if not trusted or not is_trusted(peer, trusted):
        return Client(peer, scheme, host)
    one, other = _x_forwarded(headers, peer, trusted), _forwarded(headers, peer, trusted)
    address = (habits or Habits()).choose(peer, (one.address, other.address)) or peer
    known_host = one.host or other.host or host
    full_host = _with_port(known_host, one.port)
    bare_host = "" if full_host == known_host else known_host
    return Client(address, one.scheme or other.scheme or scheme, full_host, bare_host)


@dataclass(frozen=True, slots=True)
class _Said:
    """The client as one family of fields tells of it; each is empty where nothing valid is said."""

    address: str = ""
    scheme: str = ""
    host: str = ""
    port: str = ""


def _x_forwarded(headers: MultiMapping[str], peer: str, trusted: Sequence[Network]) -> _Said:
    """Return what X-Forwarded-For, -Proto (or X-Scheme), -Host and -Port say."""
    hops = _list(headers, "X-Forwarded-For")
    address, place = _walk(hops, peer, trusted)

    def word(*names: str) -> str:
        words = next((found for name in names if (found := _list(headers, name))), [""])
        # Where each proxy has added to each list, the client's words are at its place; else the first saw the client.
        return words[place if len(words) == len(hops) else 0]

    port = word("X-Forwarded-Port")
    return _Said(
        address=address if hops else "",
        scheme=_SCHEMES.get(word("X-Forwarded-Proto", "X-Scheme").lower(), ""),
        host=_valid_host(word("X-Forwarded-Host")),
        port=port if _PORT.fullmatch(port) else "",
    )


def _forwarded(headers: MultiMapping[str], peer: str, trusted: Sequence[Network]) -> _Said:
    """Return what Forwarded says (RFC 7239), in the element of the proxy that the client connected to."""
    elements: list[dict[str, str]] = []
    left = _MOST_READ
    for line in reversed(headers.getall("Forwarded", ())):
        elements = _elements(line[-left:]) + elements
        left -= len(line)
        if left <= 0 or len(elements) >= _MOST_HOPS:
            break
    if not elements:
        return _Said()
    hops = [element.get("for", "") for element in elements]
    address, place = _walk(hops, peer, trusted)
    client = elements[place]
    return _Said(
        address=address if any(hops) else "",
        scheme=_SCHEMES.get(client.get("proto", "").lower(), ""),
        host=_valid_host(client.get("host", "")),
    )


def _walk(hops: Sequence[str], peer: str, trusted: Sequence[Network]) -> tuple[str, int]:
    """Return the right-most address that is not itself trusted, and its place; ``peer`` if the last hop is none.

    A hop that is no address, such as ``unknown`` or ``_hidden``, ends the search at the proxy that wrote it.
    """
    address, place = peer, 0
    for place in range(len(hops) - 1, -1, -1):
        found = _address_of(hops[place])
        if found is None:
            break
        address = str(found)
        if not is_trusted(address, trusted):
            break
    return address, place


def _address_of(hop: str) -> Address | None:
    """Return the address of a hop, with or without a port or brackets (RFC 7239 section 6)."""
    found = _NODE.fullmatch(hop)
    return parse(hop if found is None else found[1] or found[2])


def _list(headers: MultiMapping[str], name: str) -> list[str]:
    """Return the last entries of a comma-separated field, of all its lines in their order (RFC 9110 section 5.3).

    All that comes before the last twenty is one entry: the visitor has written it.
    """
    values = headers.getall(name, ())
    return [entry.strip() for entry in ",".join(values).rsplit(",", _MOST_HOPS)] if values else []


def _elements(text: str) -> list[dict[str, str]]:
    """Return the last elements of one Forwarded field, or of its end (RFC 7239 section 4).

    A text with a quote that does not end is one malformed element: where its elements begin is anybody's guess.
    """
    parts: list[str] = []
    end = 0
    for part in _ELEMENT.finditer(text):
        parts.append(part[1])
        end = part.end()
        if not part[2]:
            break
    return [_pairs(part) for part in parts[-_MOST_HOPS:]] if end == len(text) else [_MALFORMED]


def _pairs(element: str) -> dict[str, str]:
    """Return the pairs of one element of Forwarded; a malformed one is hidden.

    Values with a colon or in brackets are taken without quotes too, as many proxies write them.
    """
    found: dict[str, str] = {}
    position = 0
    while position < len(element):
        piece = _PIECE.match(element, position)
        if piece is None:
            return _MALFORMED
        position = piece.end()
        if piece["name"]:
            name = piece["name"].lower()
            if name in found:
                return _MALFORMED
            quoted = piece["quoted"]
            found[name] = piece["bare"] if quoted is None else _ESCAPED.sub(r"\1", quoted)
    return found


def _valid_host(text: str) -> str:
    """Return a Host, and nothing for anything else: many a proxy passes on what the visitor sent, and links hold it."""
    return text if target.is_host(text.encode(errors="replace")) else ""


def _with_port(host: str, port: str) -> str:
    """Return the host with the port that a proxy has named, if it has none; a default port says nothing new."""
    return host if not port or not host or _HAS_PORT.search(host) else f"{host}:{port}"


@lru_cache(4096)  # asked for every request
def plain(address: str) -> str:
    """Return an address in its usual spelling, one that IPv6 wraps as IPv4; any other text stays as it is."""
    return str(parse(address) or address)


def is_loopback(name: str) -> bool:
    """Return True if only this machine is reached by that address or name."""
    address = parse(name)
    return name.lower() == "localhost" if address is None else address.is_loopback


def parse(text: str) -> Address | None:
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
