"""The header fields that pass in each direction: tables, and pure functions on raw lines.

Ours are added after the removal of what ``Connection`` names, so a visitor cannot have them removed (RFC 9110
section 7.6.1; GHSA-62c8-mh53-4cqv shows what happens otherwise).
"""

import re
import secrets

from tmppool.proxy import cookies
from tmppool.proxy.cookies import Jar
from tmppool.proxy.faults import Fault
from tmppool.proxy.forwarded import Client
from tmppool.proxy.wire import BadMessageError, Fields

HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
    b"trailer", b"transfer-encoding", b"upgrade", b"content-length",
})  # fmt: skip
"""RFC 9110 section 7.6.1, with what older clients send. The length goes too: every body is framed anew."""

IDENTITY = frozenset({
    b"forwarded", b"x-real-ip", b"x-scheme", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip",
    b"cf-connecting-ip", b"x-original-forwarded-for", b"x-original-host", b"x-host", b"front-end-https", b"proxy",
    b"x-original-url", b"x-rewrite-url", b"x-http-method", b"x-http-method-override", b"x-method-override",
    b"remote-user", b"x-remote-user", b"authorization", b"expect", b"cookie",
})  # fmt: skip
"""Fields that a visitor may not set: removed, and set by the proxy where a notebook needs them."""

UNTRUSTED = frozenset({
    b"clear-site-data", b"strict-transport-security", b"public-key-pins", b"public-key-pins-report-only", b"alt-svc",
    b"service-worker-allowed", b"nel", b"report-to", b"reporting-endpoints", b"accept-ch", b"critical-ch",
    b"origin-agent-cluster", b"expect-ct", b"refresh", b"server", b"via", b"www-authenticate", b"set-cookie",
    b"set-cookie2", b"set-login", b"shared-storage-write", b"use-as-dictionary", b"sec-session-registration",
    b"secure-session-registration", b"x-sendfile", b"x-lighttpd-send-file", b"x-reproxy-url", b"surrogate-control",
    b"referrer-policy", b"x-content-type-options",
})  # fmt: skip
"""Fields of a notebook's that would reach a browser, or a proxy in front, beyond the notebook's own pages: removed."""

_IDENTITY_PREFIX = b"x-forwarded-"
_UNTRUSTED_PREFIXES = (b"access-control-", b"x-accel-", b"x-litespeed-")

PAGE_POLICY = (
    b"Content-Security-Policy: frame-ancestors 'self'",
    b"Referrer-Policy: same-origin",
    b"X-Content-Type-Options: nosniff",
)
"""The lines added to everything that comes from a notebook.

A policy more can only forbid more (CSP Level 3 section 8.1), so a notebook's own is not read but joined; its pages
frame each other, hence 'self'. Paths hold keys, hence no referrer to other sites; under ``no-referrer`` browsers
would send ``Origin: null`` with Jupyter's own requests (Fetch section 3.2).
"""

_INTERNAL = re.compile(rb"[\t ]*https?://[^/?#\\@]*(/.*)", re.IGNORECASE)
_PLACES = (b"location", b"content-location")
_MAX_COOKIES = 20

# RFC 9110 section 7.6.3. Made anew by each service, so that one may stand in front of another.
_PSEUDONYM = b"tmppool-" + secrets.token_hex(4).encode()

_NOT_TO_NOTEBOOK = HOP_BY_HOP | IDENTITY
_NOT_TO_VISITOR = HOP_BY_HOP | UNTRUSTED


def identity(client: Client, token: str) -> bytes:
    """Return the header lines, each with CRLF, by which the proxy tells a notebook about its visitor."""
    address, scheme = client.address.encode(), client.scheme.encode()
    return (
        b"Authorization: token %b\r\nX-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Scheme: %b\r\n"
        b"Via: 1.1 %b\r\n" % (token.encode(), address, address, scheme, scheme, _PSEUDONYM)
    )


def refuse_loop(fields: Fields) -> None:
    """Raise BadMessageError for a request that has been through this service before: it would loop forever."""
    if any(_PSEUDONYM in value for value in fields.values(b"via")):
        raise BadMessageError("a loop", Fault.LOOP)


def refuse_worker(fields: Fields) -> None:
    """Raise BadMessageError where a script is asked for as a service worker (Service Workers section 4.5).

    Asked of every request that is for no notebook: a page inside one could put our own pages under a worker's rule.
    """
    if b"service-worker" in fields.first:
        raise BadMessageError("no script of this service may be a service worker", Fault.SERVICE_WORKER)


def to_notebook(fields: Fields, identity_lines: bytes, jar: Jar) -> bytes:
    """Return the lines to send upstream for a visitor's fields; ``identity_lines`` come from ``identity``.

    Of the cookies only those that the notebook has set are sent: ``jar`` knows which.
    """
    dropped = _dropped(fields, _NOT_TO_NOTEBOOK)
    passed = [
        line
        for name, line in fields.lines
        if name not in dropped and b"_" not in name and not name.startswith(_IDENTITY_PREFIX)
    ]
    if b"host" not in fields.first:  # of HTTP/1.0; what goes to the notebook is 1.1 (RFC 9112 section 3.2)
        passed.append(b"Host: localhost")
    if b"cookie" in fields.first:
        known = jar.of(fields.values(b"cookie"))
        if known:
            passed.append(b"Cookie: " + known)
    return b"\r\n".join([*passed, identity_lines])


def to_visitor(fields: Fields, base_path: str, jar: Jar) -> list[bytes]:
    """Return the lines to send to the visitor for a notebook's fields; ``jar`` takes note of the cookies that pass."""
    dropped = _dropped(fields, _NOT_TO_VISITOR)
    base = base_path.encode()
    passed = [
        _outside(line, base) if name in _PLACES else line
        for name, line in fields.lines
        if name not in dropped and not name.startswith(_UNTRUSTED_PREFIXES)
    ]
    if b"set-cookie" in fields.first:
        for cookie in fields.values(b"set-cookie")[:_MAX_COOKIES]:
            confined = cookies.confine(cookie, base)
            if confined is not None:
                jar.note(confined)
                passed.append(b"Set-Cookie: " + confined)
    return passed


def _outside(line: bytes, base_path: bytes) -> bytes:
    """Return a Location without the notebook's inner origin: to the visitor its pages are on this host."""
    name, _, value = line.partition(b":")
    found = _INTERNAL.fullmatch(value)
    return name + b": " + found[1] if found and found[1].startswith(base_path) else line


def _dropped(fields: Fields, always: frozenset[bytes]) -> frozenset[bytes]:
    if b"connection" not in fields.first:
        return always
    named = set(fields.elements(b"connection"))
    return always if named <= always else (always | named) - {b"host"}
