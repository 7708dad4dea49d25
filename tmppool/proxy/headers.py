"""Which header fields pass, as data and pure functions on raw lines.

Ours are added after the removal of what ``Connection`` names, so a visitor cannot have them removed (RFC 9110
section 7.6.1; GHSA-62c8-mh53-4cqv shows what happens otherwise).
"""

from tmppool.proxy.forwarded import Client
from tmppool.proxy.wire import Fields

HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
    b"trailer", b"transfer-encoding", b"upgrade", b"content-length",
})  # fmt: skip
"""RFC 9110 section 7.6.1, with what older clients send. The length goes too: every body is framed anew."""

IDENTITY = frozenset({
    b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port",
    b"x-forwarded-prefix", b"x-forwarded-server", b"x-forwarded-scheme", b"x-real-ip", b"x-scheme",
    b"x-original-url", b"x-rewrite-url", b"x-http-method-override", b"authorization", b"expect", b"cookie", b"via",
})  # fmt: skip
"""What a visitor may not say for himself: removed, and said by the proxy where a notebook needs it."""

UNTRUSTED = frozenset({
    b"clear-site-data", b"strict-transport-security", b"public-key-pins", b"alt-svc", b"service-worker-allowed",
    b"nel", b"report-to", b"reporting-endpoints", b"accept-ch", b"critical-ch", b"origin-agent-cluster",
    b"expect-ct", b"refresh", b"server", b"via", b"www-authenticate", b"set-cookie", b"x-accel-redirect",
    b"x-accel-buffering", b"x-sendfile",
})  # fmt: skip
"""What a notebook may not say to a browser: each would reach beyond the notebook's own pages."""

COOKIE = "tmppool"
_OURS = (COOKIE.encode(), b"__Host-" + COOKIE.encode())
_RESERVED = (b"__host-", b"__secure-", COOKIE.encode())
_MAX_COOKIES = 20
_MAX_COOKIE = 4096  # bytes

_NOT_TO_NOTEBOOK = HOP_BY_HOP | IDENTITY
_NOT_TO_VISITOR = HOP_BY_HOP | UNTRUSTED


def identity(client: Client, token: str) -> bytes:
    """Return the lines that the proxy says of a visitor to a notebook."""
    address, scheme = client.address.encode(), client.scheme.encode()
    return (
        b"Authorization: token %b\r\nX-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Scheme: %b\r\n"
        % (token.encode(), address, address, scheme, scheme)
    )


def to_notebook(fields: Fields, said: bytes) -> bytes:
    """Return the lines to send upstream for a visitor's fields; ``said`` is what ``identity`` returned."""
    dropped = _dropped(fields, _NOT_TO_NOTEBOOK)
    passed = [line for name, line in fields.lines if name not in dropped and b"_" not in name]
    if b"cookie" in fields.first:
        cookies = _foreign_cookies(fields)
        if cookies:
            passed.append(b"Cookie: " + cookies)
    return b"\r\n".join([*passed, said]) if passed else said


def to_visitor(fields: Fields, base_path: str) -> list[bytes]:
    """Return the lines to send to the visitor for a notebook's fields."""
    dropped = _dropped(fields, _NOT_TO_VISITOR)
    passed = [line for name, line in fields.lines if name not in dropped]
    if b"set-cookie" in fields.first:
        cookies = [line.partition(b":")[2] for name, line in fields.lines if name == b"set-cookie"]
        confined = (confine_cookie(cookie, base_path.encode()) for cookie in cookies[:_MAX_COOKIES])
        passed += [b"Set-Cookie: " + cookie for cookie in confined if cookie is not None]
    return passed


def confine_cookie(cookie: bytes, base_path: bytes) -> bytes | None:
    """Return a notebook's Set-Cookie confined to its own path and host; None when it may not be set at all."""
    pair, *attributes = cookie.strip().split(b";")
    name = pair.partition(b"=")[0].strip().lower()
    if not name or name.startswith(_RESERVED) or len(cookie) > _MAX_COOKIE:
        return None
    path = base_path
    kept = [pair.strip()]
    for attribute in attributes:
        key, _, value = attribute.strip().partition(b"=")
        match key.strip().lower():
            case b"domain" | b"":
                continue
            case b"path":
                path = value.strip() if value.strip().startswith(base_path) else base_path
            case _:
                kept.append(attribute.strip())
    return b"; ".join([*kept, b"Path=" + path])


def _dropped(fields: Fields, always: frozenset[bytes]) -> frozenset[bytes]:
    if b"connection" not in fields.first:
        return always
    named = {
        part.strip().lower()
        for name, line in fields.lines
        if name == b"connection"
        for part in line.partition(b":")[2].split(b",")
    }
    return always if named <= always else (always | named) - {b"host"}


def _foreign_cookies(fields: Fields) -> bytes:
    pairs = (
        pair.strip() for name, line in fields.lines if name == b"cookie" for pair in line.partition(b":")[2].split(b";")
    )
    return b"; ".join(pair for pair in pairs if pair and not pair.strip(b' \t"').startswith(_OURS))
