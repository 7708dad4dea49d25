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
from tmppool.proxy.wire import TOKEN, BadMessageError, Fields

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

TO_VISITOR = frozenset({
    # Content, and its choice (RFC 9110 sections 8, 10.2 and 12.5, RFC 9530, RFC 5789, RFC 6266)
    b"content-type", b"content-encoding", b"content-language", b"content-location", b"content-disposition",
    b"content-range", b"content-md5", b"content-digest", b"repr-digest", b"digest", b"content-description",
    b"content-transfer-encoding", b"mime-version", b"accept", b"accept-charset", b"accept-encoding",
    b"accept-language", b"accept-patch", b"accept-post", b"accept-ranges", b"allow", b"date", b"etag", b"expires",
    b"last-modified", b"link", b"location", b"pragma", b"preference-applied", b"retry-after", b"vary",
    # WebSockets (RFC 6455), and protocols of files and calls: WebDAV, tus, OData, gRPC-Web, MCP
    b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-protocol", b"sec-websocket-version", b"dav",
    b"lock-token", b"ms-author-via", b"odata-version", b"odata-entityid", b"grpc-status", b"grpc-message",
    b"grpc-status-details-bin", b"mcp-session-id", b"mcp-protocol-version",
    # What a browser applies to this page only, or shows its author
    b"content-security-policy", b"content-security-policy-report-only", b"permissions-policy",
    b"permissions-policy-report-only", b"feature-policy", b"document-policy", b"document-policy-report-only",
    b"document-isolation-policy", b"integrity-policy", b"cross-origin-embedder-policy",
    b"cross-origin-embedder-policy-report-only", b"cross-origin-opener-policy",
    b"cross-origin-opener-policy-report-only", b"cross-origin-resource-policy", b"server-timing", b"sourcemap",
    b"deprecation", b"sunset", b"ratelimit", b"ratelimit-policy", b"ratelimit-limit", b"ratelimit-remaining",
    b"ratelimit-reset", b"x-frame-options", b"x-xss-protection", b"x-ua-compatible", b"x-download-options",
    b"x-dns-prefetch-control", b"x-robots-tag", b"x-sourcemap",
    # What applications tell their own pages
    b"x-request-id", b"x-correlation-id", b"x-trace-id", b"x-csrftoken", b"x-xsrftoken", b"x-requested-with",
    b"x-powered-by", b"x-generator", b"x-runtime", b"x-version", b"x-response-time", b"x-process-time", b"x-count",
    b"x-total", b"x-page", b"x-per-page", b"x-next-page", b"x-prev-page", b"x-filename", b"x-elastic-product",
})  # fmt: skip
"""Fields that pass from a notebook to its visitor; any other is removed, and Cache-Control is written anew.

Names are listed, since nobody knows all by which some proxy or content delivery network is steered (X-Accel-Redirect,
X-Envoy-*, X-Sendfile2, CDN-Cache-Control), or a browser's behaviour on the whole origin (Clear-Site-Data, Alt-Svc).
One value of one such field passes all the same: see ``_streams``.
"""

_TO_VISITOR_FAMILIES = (
    b"tus-", b"upload-", b"hx-", b"x-jupyter", b"x-xsrf-", b"x-csrf-", b"x-app-", b"x-total-", b"x-pagination",
    b"x-ratelimit-", b"x-rate-limit-", b"x-upload-", b"x-file-", b"x-bokeh-", b"x-dash-", b"x-gradio-", b"x-marimo-",
    b"x-panel-", b"x-rstudio-", b"x-shiny-", b"x-streamlit-", b"x-voila-", b"x-vscode-", b"x-plotly-",
    b"x-tensorboard-", b"x-mlflow-", b"x-ray-", b"x-clickhouse-", b"x-couch", b"x-influxdb-", b"x-oc-", b"x-amz-meta-",
)  # fmt: skip
"""Beginnings of names that pass: of protocols and of applications. ``X-App-`` is for whoever writes an application."""

_IDENTITY_PREFIX = b"x-forwarded-"

FRAME_POLICY = b"Content-Security-Policy: frame-ancestors 'self'"
"""Added to everything that comes from a notebook, unless pages of other origins may embed it.

A policy more can only forbid more (CSP Level 3 section 8.1), so a notebook's own is not read but joined; its pages
frame each other, hence 'self'.
"""

REFERRER_POLICY = b"Referrer-Policy: same-origin"
"""Added to everything that comes from a notebook.

Paths hold keys, hence no referrer to other sites; under ``no-referrer`` browsers would send ``Origin: null`` with
Jupyter's own requests (Fetch section 3.2).
"""

NOSNIFF = b"X-Content-Type-Options: nosniff"
"""Added to what Jupyter itself sends, such as a visitor's files, and to what any server sends with this field.

Not to an app's other responses, nor to any without a type: many small servers send no Content-Type, or a wrong one, and
work in a browser that looks at the content. Nothing is lost, since an app may send HTML to its own origin under its
right name as well.
"""

READABLE = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*"}
"""The fields that let the page of any origin read a response (Fetch section 3.3).

``*`` never covers a request with cookies: it is of use only to who knows the token.
"""
READABLE_LINES = (*(f"{name}: {value}".encode() for name, value in READABLE.items()), b"Vary: Authorization")

_SCHEMES = frozenset({b"basic", b"digest", b"bearer"})
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+("?)', re.DOTALL)  # reads each byte once, also of one that does not end
_SCHEME = re.compile(rb"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?!=)(?=[ \t]|$)")
VARIANTS = b"Vary: Accept, Sec-Fetch-Dest"
"""Added to a notebook's HTML page that may be kept: the same address has the notice where a browser shows it, and not
where a script fetches it, and a cache must not take one for the other."""

_FOR_CACHES = (b"cache-control", b"expires", b"etag", b"last-modified")

_CONDITIONS = frozenset({b"if-none-match", b"if-modified-since", b"accept-encoding"})
_OF_BYTES = frozenset({
    b"etag", b"last-modified", b"content-encoding", b"accept-ranges", b"digest", b"content-digest", b"repr-digest",
    b"content-md5", b"content-security-policy",
})  # fmt: skip
"""Fields about the very bytes of a page, which an edited one does not keep, or gets anew."""

_INTERNAL = re.compile(rb"[\t ]*https?://[^/?#\\@]*(/.*)", re.IGNORECASE)
_PLACES = (b"location", b"content-location")
_MAX_COOKIES = 20
_DIRECTIVE = re.compile(TOKEN + rb"(?:=(?:" + TOKEN + rb'|"[^"\\]*"))?')
_MOST_CACHE_CONTROL = 1024  # bytes
_SHARED = (b"public", b"s-maxage", b"proxy-revalidate", b"private", b"must-understand")

# RFC 9110 section 7.6.3. Made anew by each service, so that one may stand in front of another.
_PSEUDONYM = b"tmppool-" + secrets.token_hex(4).encode()

XSRF = b"tmppool"
"""The value of both halves of the double submit that Jupyter asks for (Tornado, ``check_xsrf_cookie``)."""

_NOT_TO_NOTEBOOK = HOP_BY_HOP | IDENTITY


def identity(client: Client, authorization: bytes) -> bytes:
    """Return the header lines, each with CRLF, by which the proxy tells a notebook about its visitor.

    ``authorization`` is Jupyter's token, or the visitor's own for an app in the notebook.
    """
    address, scheme = client.address.encode(), client.scheme.encode()
    return (
        b"Authorization: %b\r\nX-Forwarded-For: %b\r\nX-Real-IP: %b\r\nX-Forwarded-Proto: %b\r\nX-Scheme: %b\r\n"
        b"Via: 1.1 %b\r\n" % (authorization, address, address, scheme, scheme, _PSEUDONYM)
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


def to_notebook(
    fields: Fields,
    identity_lines: bytes,
    jar: Jar,
    login: bytes = b"",
    *,
    is_for_page: bool = False,
    is_judged: bool = False,
) -> bytes:
    """Return the lines to send upstream for a visitor's fields; ``identity_lines`` come from ``identity``.

    Of the cookies only those that the notebook has set are sent: ``jar`` knows which. ``login`` holds Jupyter's own,
    for a request that cannot carry its token; the visitor's of the same name stand. A page that is to be edited is
    asked for whole, and not compressed. ``is_judged``: the request may change something, and its origin was judged
    here. A Jupyter whose token is empty asks for its ``_xsrf`` cookie all the same, which programs do not have.
    """
    dropped = _dropped(fields, _NOT_TO_NOTEBOOK)
    if is_for_page:
        dropped |= _CONDITIONS
    passed = [
        line
        for name, line in fields.lines
        if name not in dropped and b"_" not in name and not name.startswith(_IDENTITY_PREFIX)
    ]
    if b"host" not in fields.first:  # of HTTP/1.0; what goes to the notebook is 1.1 (RFC 9112 section 3.2)
        passed.append(b"Host: localhost")
    known = jar.of(fields.values(b"cookie")) if b"cookie" in fields.first else b""
    if login:
        known = cookies.joined(known, login)
    if is_judged and b"x-xsrftoken" not in fields.first:
        known = cookies.joined(known, b"_xsrf=" + XSRF)
        passed.append(b"X-XSRFToken: " + cookies.value_of(known, b"_xsrf"))
    if known:
        passed.append(b"Cookie: " + known)
    if is_for_page:
        passed.append(b"Accept-Encoding: identity")
    return b"\r\n".join([*passed, identity_lines])


def to_visitor(fields: Fields, base_path: str, jar: Jar, *, is_app: bool = False) -> list[bytes]:
    """Return the lines to send to the visitor for a notebook's fields; ``jar`` takes note of the cookies that pass.

    ``is_app``: an app in the notebook may ask for credentials of its own.
    """
    named = _dropped(fields, frozenset())
    base = base_path.encode()
    passed = [
        _outside(line, base) if name in _PLACES else line
        for name, line in fields.lines
        if name not in named and (name in TO_VISITOR or name.startswith(_TO_VISITOR_FAMILIES) or _streams(name, line))
    ]
    if b"set-cookie" in fields.first:
        for cookie in fields.values(b"set-cookie")[:_MAX_COOKIES]:
            confined = cookies.confine(cookie, base)
            if confined is not None:
                jar.note(confined)
                passed.append(b"Set-Cookie: " + confined)
    if is_app and b"www-authenticate" in fields.first:
        asked = fields.values(b"www-authenticate")
        passed += [b"WWW-Authenticate: " + value for value in asked if is_plain_challenge(value)]
    return passed


def cache_line(fields: Fields) -> bytes:
    """Return the Cache-Control line of a notebook's response: its word to a browser, and none to a shared cache.

    Each response is one visitor's, so no cache in front may store it (RFC 9111 section 5.2.2.7). A directive that is
    not valid is left out, also one whose quoted value holds a comma; a field too long to be sensible is not read.
    """
    if b"cache-control" not in fields.first:
        return b"Cache-Control: private"
    if sum(map(len, fields.values(b"cache-control"))) > _MOST_CACHE_CONTROL:
        return b"Cache-Control: private, no-store"
    found = [element for element in fields.elements(b"cache-control") if _DIRECTIVE.fullmatch(element)]
    kept = [directive for directive in found if directive.partition(b"=")[0] not in _SHARED]
    return b"Cache-Control: " + b", ".join([b"private", *kept])


def is_plain_challenge(value: bytes) -> bool:
    """Return True if all challenges in a WWW-Authenticate ask for what somebody types (RFC 9110 section 11.6.1).

    For others, as ``Negotiate``, some browsers send credentials of the machine's user without asking.
    """
    if any(not found[1] for found in _QUOTED.finditer(value)):  # whoever reads what it hides may find more
        return False
    parts = _QUOTED.sub(b'""', value).split(b",")
    schemes = {found[1].lower() for part in parts if (found := _SCHEME.match(part))}
    return bool(schemes) and schemes <= _SCHEMES


def is_kept(fields: Fields) -> bool:
    """Return True if a cache may keep the response: without any of these fields, none does."""
    return any(name in fields.first for name in _FOR_CACHES)


def with_policies(lines: list[bytes], policies: list[bytes]) -> list[bytes]:
    """Return the lines of a response with ``policies`` in the place of the notebook's own."""
    own = (line for line in lines if line.partition(b":")[0].lower() != b"content-security-policy")
    return [*own, *(b"Content-Security-Policy: " + policy for policy in policies)]


def edited(lines: list[bytes], policies: list[bytes], frame_policy: bytes) -> list[bytes]:
    """Return the lines of a response for a page that is edited; ``policies`` take the place of the notebook's own."""
    own = (line for line in lines if line == frame_policy or line.partition(b":")[0].lower() not in _OF_BYTES)
    return [*own, *(b"Content-Security-Policy: " + policy for policy in policies)]


def _streams(name: bytes, line: bytes) -> bool:
    """Return True for the one word to a proxy in front that passes: not to buffer this response.

    Without it nginx holds back what an app sends event by event. Of the same family are redirects to files, caching
    and rates, and ``yes`` would undo what an operator has set.
    """
    return name == b"x-accel-buffering" and line.partition(b":")[2].strip(b" \t") == b"no"


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
