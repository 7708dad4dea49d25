"""Which headers pass, as data and pure functions.

Ours are added after the removal of what ``Connection`` names, so a visitor cannot have them removed (RFC 9110
section 7.6.1; GHSA-62c8-mh53-4cqv shows what happens otherwise).
"""

from collections.abc import Iterable, Mapping

from multidict import CIMultiDict, MultiMapping

from tmppool.proxy.forwarded import Client

HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
"""RFC 9110 section 7.6.1, with what older clients send."""

IDENTITY = frozenset({
    "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-prefix",
    "x-forwarded-server", "x-forwarded-scheme", "x-real-ip", "x-scheme", "x-original-url", "x-rewrite-url",
    "x-http-method-override", "authorization", "expect", "cookie", "via",
})  # fmt: skip
"""What a visitor may not say for himself: removed, and said by the proxy where a notebook needs it."""

UNTRUSTED = frozenset({
    "clear-site-data", "strict-transport-security", "public-key-pins", "alt-svc", "service-worker-allowed", "nel",
    "report-to", "reporting-endpoints", "accept-ch", "critical-ch", "origin-agent-cluster", "expect-ct", "refresh",
    "server", "via", "www-authenticate", "set-cookie", "x-accel-redirect", "x-accel-buffering", "x-sendfile",
})  # fmt: skip
"""What a notebook may not say to a browser: each would reach beyond the notebook's own pages."""

COOKIE = "tmppool"
_OURS = (COOKIE, f"__Host-{COOKIE}")
_RESERVED = ("__host-", "__secure-", COOKIE)
_MAX_COOKIES = 20
_MAX_COOKIE = 4096  # bytes


def to_notebook(headers: MultiMapping[str], client: Client, token: str) -> CIMultiDict[str]:
    """Return the headers to send upstream for a visitor's headers."""
    dropped = _named_by_connection(headers) | HOP_BY_HOP | IDENTITY
    passed = CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in dropped and "_" not in name and _is_sound(value)
    )
    cookies = "; ".join(_foreign_cookies(headers.getall("Cookie", ())))
    if cookies and _is_sound(cookies):
        passed["Cookie"] = cookies
    passed["Authorization"] = f"token {token}"
    passed["X-Forwarded-For"] = passed["X-Real-IP"] = client.address
    passed["X-Forwarded-Proto"] = passed["X-Scheme"] = client.scheme
    return passed


def to_visitor(headers: MultiMapping[str], base_path: str) -> CIMultiDict[str]:
    """Return the headers to send to the visitor for a notebook's headers."""
    dropped = _named_by_connection(headers) | HOP_BY_HOP | UNTRUSTED
    passed = CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in dropped and _is_sound(value)
    )
    for cookie in headers.getall("Set-Cookie", ())[:_MAX_COOKIES]:
        confined = confine_cookie(cookie, base_path)
        if confined is not None:
            passed.add("Set-Cookie", confined)
    return passed


def confine_cookie(cookie: str, base_path: str) -> str | None:
    """Return a notebook's Set-Cookie confined to its own path and host; None when it may not be set at all."""
    pair, *attributes = cookie.split(";")
    name = pair.partition("=")[0].strip().lower()
    if not name or name.startswith(_RESERVED) or len(cookie) > _MAX_COOKIE or not _is_sound(cookie):
        return None
    path = base_path
    kept = []
    for attribute in attributes:
        key, _, value = attribute.partition("=")
        match key.strip().lower():
            case "domain":
                continue
            case "path":
                path = value.strip() if value.strip().startswith(base_path) else base_path
            case _:
                kept.append(attribute.strip())
    return "; ".join([pair.strip(), *filter(None, kept), f"Path={path}"])


def _named_by_connection(headers: MultiMapping[str]) -> frozenset[str]:
    values = headers.getall("Connection", ())
    if not values:
        return frozenset()
    return frozenset(name.strip().lower() for value in values for name in value.split(","))


def _foreign_cookies(values: Iterable[str]) -> Iterable[str]:
    for value in values:
        for pair in value.split(";"):
            if pair.strip() and pair.partition("=")[0].strip() not in _OURS:
                yield pair.strip()


def _is_sound(value: str) -> bool:
    """Whether aiohttp can write this value: bytes that were no UTF-8 arrive as surrogates (PEP 383)."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def mapping(headers: Iterable[tuple[bytes, bytes]]) -> CIMultiDict[str]:
    """Return raw header pairs as a multidict, as aiohttp would have read them."""
    return CIMultiDict((n.decode("ascii", "replace"), v.decode("utf-8", "surrogateescape")) for n, v in headers)


def has_token(headers: Mapping[str, str], name: str, token: str) -> bool:
    """Whether the comma list ``name`` holds ``token``, in any case."""
    return token in (part.strip().lower() for part in headers.get(name, "").split(","))
