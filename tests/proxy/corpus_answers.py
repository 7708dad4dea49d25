"""What a hostile notebook may answer, as bytes, and what its visitor is to see of it.

``{base}`` stands for the path of the notebook, ``evil`` marks what no visitor may see.
"""

from collections.abc import Iterator
from dataclasses import dataclass

GATEWAY = "502"  # our own 502, and the connection goes on
BROKEN = "broken off"  # 502, or an answer that does not look complete and the end of the connection
WHOLE = "whole"  # the answer and nothing more

HANDSHAKE = (
    "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3


@dataclass(frozen=True)
class Answer:
    """``raw`` is said to a request of ``method`` with ``lines``; ``closes``: the notebook closes behind it.

    ``body`` is what the visitor gets where the answer is whole.
    """

    id: str
    source: str
    raw: str
    expect: str
    body: str = "ok"
    method: str = "GET"
    lines: tuple[str, ...] = ()
    closes: bool = False


def answer(*lines: str, start: str = "HTTP/1.1 200 OK", body: str = "") -> str:
    return "\r\n".join([start, *lines, "", body])


EVIL = answer("Content-Length: 4", body="evil")


def heads() -> Iterator[Answer]:
    framing = {
        "a length, then chunks": ("Content-Length: 4", "Transfer-Encoding: chunked"), "chunks, then a length": ("Transfer-Encoding: chunked", "Content-Length: 4"),
        "the same length twice": ("Content-Length: 4", "Content-Length: 4"), "two lengths": ("Content-Length: 4", "content-length: 0"), "chunks twice": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        **{f"length {value!r}": (f"Content-Length: {value}",) for value in ("", "+4", "-4", "0x4", "4,4", "4 4", "4_0", "\xd9\xa4", "9" * 20)},
        **{f"coding {value!r}": (f"Transfer-Encoding: {value}",) for value in ("", "gzip", "identity", "gzip, chunked", "chunked, chunked", "chunked, identity", "xchunked", "chunked;a", "\x0bchunked", '"chunked"')},
    }  # fmt: skip
    for name, lines in framing.items():
        yield Answer(
            f"H-13 framing: {name}", "RFC 9112 section 6.3", answer(*lines, body="4\r\nevil\r\n0\r\n\r\n"), GATEWAY
        )
    yield Answer(
        "H-13 framing: chunks in 1.0",
        "RFC 9112 section 6.1",
        answer("Transfer-Encoding: chunked", start="HTTP/1.0 200 OK", body="4\r\nevil\r\n0\r\n\r\n"),
        GATEWAY,
    )
    starts = ("HTTP/1.1 20 evil", "HTTP/1.1 2000 evil", "HTTP/1.1 020 evil", "HTTP/1.1 000 evil", "HTTP/1.1  200 evil", "HTTP/1.1\t200 evil", "HTTP/1.2 200 evil", "HTTP/2 200 evil", "HTTP/0.9 200 evil", "http/1.1 200 evil", "ICY 200 evil",
              "HTTP/1.1 200 evil\x00", "HTTP/1.1 200 evil\rA: b", "HTTP/1.1 200 OK\nA: evil", "HTTP/1.1 +20 evil", "HTTP/1.1 -20 evil", "HTTP/1.1200 evil", "evil", "GET /evil HTTP/1.1", " HTTP/1.1 200 evil", "\r\nHTTP/1.1 200 evil", "evil HTTP/1.1 200 OK")  # fmt: skip
    for start in starts:
        yield Answer(
            f"H-13 status line: {start!r}",
            "RFC 9112 section 4",
            answer("Content-Length: 4", start=start, body="evil"),
            GATEWAY,
        )
    lines = ("A: b\r\n evil", "A:\r\n\tevil", " A: evil", "A : evil", ": evil", "evil", "A B: evil", "A(: evil", "\xe9: evil", "A: \x00evil", "A: \x0bevil", "A: evil\x7f", "A: b\rSet-Cookie: evil=1", "A: b\nSet-Cookie: evil=1", "A: b\r\r\nevil: c", "A: b\n\nevil",
             "Content-Length : 9\r\nA: evil", "\x00evil: a")  # fmt: skip
    for line in lines:
        yield Answer(
            f"H-13 field: {line!r}", "RFC 9112 section 5", answer(line, "Content-Length: 4", body="evil"), GATEWAY
        )
    yield Answer(
        "H-13 limit: 101 fields", "bounded", answer(*["A: evil"] * 100, "Content-Length: 4", body="evil"), GATEWAY
    )
    yield Answer(
        "H-13 limit: a head of 70 KiB",
        "bounded",
        answer("A: " + "evil" * 18_000, "Content-Length: 4", body="evil"),
        GATEWAY,
    )
    yield Answer("H-13 limit: a field without end", "bounded", "HTTP/1.1 200 OK\r\nA: " + "evil" * 50_000, GATEWAY)
    yield Answer("H-13 limit: fields without end", "bounded", "HTTP/1.1 200 OK\r\n" + "A: evil\r\n" * 20_000, GATEWAY)
    yield Answer("H-13: no answer", "RFC 9112 section 9.5", "", GATEWAY, closes=True)
    yield Answer("H-13: half a status line", "RFC 9112 section 9.5", "HTTP/1.1 2", GATEWAY, closes=True)
    yield Answer("H-13: half a head", "RFC 9112 section 9.5", "HTTP/1.1 200 OK\r\nA: evil\r\n", GATEWAY, closes=True)
    yield Answer("H-13: HTTP/0.9", "RFC 9112 section 2.3", "<html>evil</html>", GATEWAY, closes=True)
    yield Answer("H-13: TLS", "no HTTP", "\x15\x03\x01\x00\x02\x02\x0aevil\r\n\r\n", GATEWAY)


def interim() -> Iterator[Answer]:
    early = "HTTP/1.1 103 Early Hints\r\nLink: </evil>\r\nSet-Cookie: evil=1\r\n\r\n"
    ok = answer("Content-Length: 2", body="ok")
    yield Answer("H-19: interim answers are kept", "RFC 9110 section 15.2", early * 8 + ok, WHOLE)
    yield Answer("H-19: interim answers without end", "bounded", early * 2000, GATEWAY)
    yield Answer(
        "H-19: 100 with a length",
        "RFC 9110 section 15.2",
        answer("Content-Length: 4", start="HTTP/1.1 100 evil") + ok,
        WHOLE,
    )
    yield Answer("H-19: 100 unasked", "RFC 9110 section 15.2.1", "HTTP/1.1 100 Continue\r\n\r\n" + ok, WHOLE)
    switch = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Accept: {ACCEPT}")
    switching = "HTTP/1.1 101 Switching Protocols"
    yield Answer(
        "H-18: 101 that nobody asked for",
        "RFC 9110 section 15.2.2",
        answer(*switch, start=switching, body="evil"),
        GATEWAY,
    )
    yield Answer(
        "H-18: 101 to h2c that nobody asked for",
        "RFC 9110 section 15.2.2",
        answer("Connection: Upgrade", "Upgrade: h2c", start=switching, body="evil"),
        GATEWAY,
    )
    yield Answer(
        "H-18: 101 to h2c that was asked for",
        "RFC 9110 section 15.2.2",
        answer("Connection: Upgrade", "Upgrade: h2c", start=switching, body="evil"),
        GATEWAY,
        lines=("Connection: Upgrade", "Upgrade: h2c"),
    )
    wrong = {
        "no accept": switch[:2], "an empty accept": (*switch[:2], "Sec-WebSocket-Accept:"), "a wrong accept": (*switch[:2], "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="), "an accept in other case": (*switch[:2], f"Sec-WebSocket-Accept: {ACCEPT.lower()}"),
        "two accepts": (*switch, switch[2]), "another upgrade": (switch[0], "Upgrade: h2c", switch[2]), "no upgrade": (switch[0], switch[2]), "no Connection": switch[1:], "a protocol that was not offered": (*switch, "Sec-WebSocket-Protocol: evil"), "two upgrades": (*switch, switch[1]),
        "the key for an accept": (*switch[:2], "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ=="),
    }  # fmt: skip
    for name, lines in wrong.items():
        yield Answer(
            f"H-18: 101 with {name}",
            "RFC 6455 section 4.1",
            answer(*lines, start=switching, body="evil"),
            GATEWAY,
            lines=HANDSHAKE,
        )
    yield Answer(
        "H-18: a refusal of a WebSocket",
        "RFC 6455 section 4.2.2",
        answer("Content-Length: 2", start="HTTP/1.1 403 No", body="ok"),
        WHOLE,
        lines=HANDSHAKE,
    )
    yield Answer(
        "H-18: 200 to a WebSocket",
        "RFC 6455 section 4.1",
        answer("Content-Length: 2", "Upgrade: websocket", "Connection: upgrade", body="ok"),
        WHOLE,
        lines=HANDSHAKE,
    )


def bodies() -> Iterator[Answer]:
    chunked = answer("Transfer-Encoding: chunked")
    wrong = {
        "no size": "\r\n", "no digit": "x\r\nevil", "plus": "+4\r\nevil\r\n", "minus": "-4\r\nevil\r\n", "0x": "0x4\r\nevil\r\n", "space before": " 4\r\nevil\r\n", "space behind": "4 \r\nevil\r\n", "2^64": "10000000000000000\r\nevil", "2^64 + 4": "10000000000000004\r\nevil\r\n", "LF": "4\nevil\r\n",
        "longer": "3\r\nevil\r\n", "shorter": "5\r\nevil\r\n0\r\n\r\n", "LF behind": "2\r\nab\n0\r\n\r\n", "NUL": "2\x00\r\nab\r\n", "LF in an extension": "2;a\nb\r\nab\r\n0\r\n\r\n", "2 KiB of extension": "2;" + "a" * 2048 + "\r\nab\r\n0\r\n\r\n", "extensions without end": "1;aaaaaaaaaaaaaaa\r\nx\r\n" * 100,
        "no trailer": "0\r\nevil\r\n\r\n", "trailers without end": "0\r\n" + "A: b\r\n" * 1000, "an answer for a trailer": "0\r\n" + EVIL, "a trailer with LF": "0\r\nA: b\nC: d\r\n\r\n", "another answer": EVIL,
    }  # fmt: skip
    for name, body in wrong.items():
        yield Answer(f"H-13 chunks: {name}", "RFC 9112 section 7.1", chunked + "5\r\nbegun\r\n" + body, BROKEN)
    for name, body in {
        "nothing more": "",
        "half a chunk": "4\r\nev",
        "no end of a chunk": "4\r\nevil",
        "no last chunk": "4\r\nabcd\r\n",
        "no last line": "0\r\n",
        "half a trailer": "0\r\nA: b",
    }.items():
        yield Answer(
            f"H-13 chunks, then a close: {name}",
            "RFC 9112 section 8",
            chunked + "5\r\nbegun\r\n" + body,
            BROKEN,
            closes=True,
        )
    yield Answer(
        "H-13: a length that is not reached",
        "RFC 9112 section 8",
        answer("Content-Length: 10", body="begun"),
        BROKEN,
        closes=True,
    )
    yield Answer("H-13: a head and no body", "RFC 9112 section 8", answer("Content-Length: 10"), BROKEN, closes=True)
    yield Answer("H-13: until the close", "RFC 9112 section 6.3", answer(body="ok"), WHOLE, closes=True)
    yield Answer(
        "H-13: until the close, with another answer in it",
        "RFC 9112 section 6.3",
        answer(body="ok" + EVIL),
        WHOLE,
        body="ok" + EVIL,
        closes=True,
    )
    length = answer("Content-Length: 2", body="ok")
    behind = {
        "another answer": EVIL,
        "garbage": "evil",
        "an empty line": "\r\n",
        "LF": "\n",
        "NUL": "\x00",
        "half an answer": EVIL[:20],
        "a chunk": "4\r\nevil\r\n0\r\n\r\n",
        "an interim answer": "HTTP/1.1 100 evil\r\n\r\n",
    }
    for name, rest in behind.items():
        yield Answer(f"H-13: {name} behind a length", "RFC 9112 section 6.3", length + rest, WHOLE)
        yield Answer(
            f"H-13: {name} behind chunks", "RFC 9112 section 7.1", chunked + "2\r\nok\r\n0\r\n\r\n" + rest, WHOLE
        )
        yield Answer(
            f"H-13: {name} behind 204",
            "RFC 9110 section 15.3.5",
            answer(start="HTTP/1.1 204 No Content") + rest,
            WHOLE,
            body="",
        )
        yield Answer(
            f"H-13: {name} behind 304",
            "RFC 9110 section 15.4.5",
            answer("Content-Length: 4", start="HTTP/1.1 304 Not Modified") + rest,
            WHOLE,
            body="",
        )
        yield Answer(
            f"H-13: {name} behind an answer to HEAD",
            "RFC 9110 section 9.3.2",
            answer("Content-Length: 4") + rest,
            WHOLE,
            body="",
            method="HEAD",
        )
    yield Answer(
        "H-13: 204 with a length",
        "RFC 9110 section 8.6",
        answer("Content-Length: 4", start="HTTP/1.1 204 No Content", body="evil"),
        WHOLE,
        body="",
    )
    yield Answer(
        "H-13: 204 with chunks",
        "RFC 9112 section 6.1",
        answer("Transfer-Encoding: chunked", start="HTTP/1.1 204 No Content", body="4\r\nevil\r\n0\r\n\r\n"),
        WHOLE,
        body="",
    )
    yield Answer(
        "H-13: trailers",
        "RFC 9110 section 6.5",
        chunked + "2\r\nok\r\n0\r\nSet-Cookie: evil=1\r\nContent-Length: 4\r\n\r\n",
        WHOLE,
    )
    yield Answer(
        "H-13: many small chunks",
        "RFC 9112 section 7.1",
        chunked + "1\r\nx\r\n" * 500 + "0\r\n\r\n",
        WHOLE,
        body="x" * 500,
    )
    yield Answer(
        "H-13: an answer before the request's end",
        "RFC 9112 section 9.5",
        length,
        WHOLE,
        method="POST",
        lines=("Content-Length: 1000",),
    )
    yield Answer(
        "H-13: an answer before the last chunk",
        "RFC 9112 section 9.5",
        length,
        WHOLE,
        method="POST",
        lines=("Transfer-Encoding: chunked",),
    )
    yield Answer(
        "H-13: a wrong answer before the request's end",
        "RFC 9112 section 9.5",
        "evil\r\n\r\n",
        BROKEN,
        method="POST",
        lines=("Content-Length: 1000",),
    )


ANSWERS = [case for family in (heads, interim, bodies) for case in family()]

FIELDS = {
    # Beyond the notebook's own pages
    'Clear-Site-Data: "cookies", "storage"': None, "clear-site-data: *": None, "Strict-Transport-Security: max-age=31536000; includeSubDomains": None, "Public-Key-Pins: x": None, 'Alt-Svc: h3="evil:443"': None, "Service-Worker-Allowed: /": None,
    "SERVICE-WORKER-ALLOWED: /": None, "NEL: {}": None, "Report-To: {}": None, 'Reporting-Endpoints: a="https://evil"': None, "Accept-CH: Sec-CH-UA-Model": None, "Critical-CH: x": None, "Origin-Agent-Cluster: ?1": None, "Expect-CT: x": None, "Refresh: 0; url=https://evil": None,
    "WWW-Authenticate: Negotiate": None, 'WWW-Authenticate: Basic realm="an app\'s"': 'WWW-Authenticate: Basic realm="an app\'s"', "Proxy-Authenticate: Basic": None, "Set-Login: logged-in": None, 'Use-As-Dictionary: match="/*"': None, "Shared-Storage-Write: clear": None, 'Secure-Session-Registration: (ES256); path="/"': None, "Set-Cookie2: evil=1": None,
    **dict.fromkeys((
        "Set-Cookie3: evil=1", "Supports-Loading-Mode: credentialed-prerender", 'Speculation-Rules: "/evil"', "Observe-Browsing-Topics: ?1", "Attribution-Reporting-Register-Source: {}", "Activate-Storage-Access: load", "Origin-Trial: evil", "Timing-Allow-Origin: *", "Sec-Session-Registration: evil", "P3P: CP=evil", "Public-Key-Pins-Report-Only: x", "Save-Data: on", "Sec-GPC: 1", "X-Permitted-Cross-Domain-Policies: all", "Signed-Headers: evil", "Login-Status: logged-in", "IdP-SignIn-Status: action=signin", "Sec-Token-Binding: x", "Permissions-Policy-X: evil", "Own: evil", "A: evil",
    ), None),
    # For a proxy in front
    "X-Accel-Redirect: /etc/passwd": None, "X-Accel-Expires: 9999": None, "X-Accel-Buffering: yes": None, "X-Accel-Limit-Rate: 1": None, "X-Accel-Charset: utf-7": None, "X-Accel-Buffering: no": "X-Accel-Buffering: no", "X-Sendfile: /etc/passwd": None, "X-Lighttpd-Send-File: /etc/passwd": None, "X-LiteSpeed-Location: /x": None, "X-Reproxy-URL: http://127.0.0.1/": None, "Surrogate-Control: max-age=9999": None,
    "Server: evil": None, "Via: 1.1 evil": None, "Keep-Alive: timeout=9999": None, "Trailer: evil": None, "TE: evil": None, "Upgrade: h2c": None, "Proxy-Connection: evil": None,
    **dict.fromkeys((
        "X-Envoy-Upstream-Alt-Stat-Name: evil", "X-Envoy-Immediate-Health-Check-Fail: 1", "X-Envoy-Degraded: 1", "X-Sendfile2: /etc/passwd 0-", "X-Sendfile-Temporary: /etc/passwd", "X-Archive-Files: zip", "X-Reproxy-File: /etc/passwd", "X-Reproxy-Expected-Size: 9", "X-Reproxy-Cache-For: 9999", "X-Reproxy-Method: POST",
        "X-LiteSpeed-Cache-Control: public,max-age=9999", "X-LiteSpeed-Purge: *", "X-LiteSpeed-Tag: evil", "X-LSCache: on", "X-LSADC-Cache-Control: public", "CDN-Cache-Control: max-age=9999", "Cloudflare-CDN-Cache-Control: max-age=9999", "Netlify-CDN-Cache-Control: public", "Vercel-CDN-Cache-Control: max-age=9999", "CDN-Loop: evil", "Surrogate-Key: evil", "Surrogate-Capability: evil", "Edge-Control: cache-maxage=9d", "Edge-Cache-Tag: evil", "Cache-Tag: evil", "Akamai-Cache-Control: public",
        "xkey: evil", "X-Cache-Tags: evil", "X-Drupal-Cache-Tags: evil", "X-Drupal-Dynamic-Cache: HIT", "X-Varnish: 1", "X-Magento-Tags: evil", "X-Fastly-Imageopto-Api: evil", "X-Proxy-Cache: HIT", "X-Redirect-By: evil", "X-Internal-Redirect: /evil", "X-Forwarded-Proto: evil", "X-Original-URL: /evil", "X-Rewrite-URL: /evil", "X-Haproxy-Server-State: DOWN", "X-Mod-Pagespeed: evil", "PageSpeed: off", "X-Compress-Hint: on", "X-Upstream: evil", "X-Nginx-Cache: evil", "X-Amz-Cf-Id: evil", "X-Middleware-Rewrite: /evil", "X-Any-Thing-That-Nobody-Knows: evil",
        "Age: 9999", "Warning: 110 evil", "Cache-Status: evil; hit", "Proxy-Status: evil", "Priority: u=0", "Status: 302 Found", "ESI: evil", "Proxy-Authentication-Info: evil", "Proxy-Connection: keep-alive", "HTTP2-Settings: AAAA",
    ), None),
    # Who may read it is for the service to say
    "Access-Control-Allow-Origin: https://evil": None, "Access-Control-Allow-Credentials: true": None, "Access-Control-Expose-Headers: *": None, "access-control-max-age: 9999": None, "Referrer-Policy: unsafe-url": None, "X-Content-Type-Options: evil": "X-Content-Type-Options: nosniff",
    # Places
    "Location: http://127.0.0.1:8888{base}tree": "Location: {base}tree", "Location: http://localhost:8888{base}tree?a=b": "Location: {base}tree?a=b", "location: http://notebook:8888{base}": "location: {base}", "Content-Location: http://10.0.0.2:8888{base}x": "Content-Location: {base}x",
    "Location: {base}tree": "Location: {base}tree", "Location: tree": "Location: tree", "Location: https://elsewhere.example/": "Location: https://elsewhere.example/", "Location: //elsewhere.example{base}": "Location: //elsewhere.example{base}", "Location: http://127.0.0.1:8888/": "Location: http://127.0.0.1:8888/",
    "Location: https://elsewhere.example/?u=http://h{base}": "Location: https://elsewhere.example/?u=http://h{base}", "Location: http://h\\{base}": "Location: http://h\\{base}",
    # A notebook's own business
    "Content-Security-Policy: sandbox allow-scripts": "Content-Security-Policy: sandbox allow-scripts", "Content-Security-Policy: frame-ancestors *": "Content-Security-Policy: frame-ancestors *", "X-Frame-Options: ALLOWALL": "X-Frame-Options: ALLOWALL",
    "Content-Type: text/html": "Content-Type: text/html", "Content-Disposition: attachment": "Content-Disposition: attachment", "Link: <x>; rel=preload": "Link: <x>; rel=preload", "Cross-Origin-Opener-Policy: unsafe-none": "Cross-Origin-Opener-Policy: unsafe-none",
    **{line: line for line in (
        "X-App-Own: a", "X-XSRFToken: a", "x-jupyterhub-version: 5", "X-Jupyter-Anything: a", "X-Request-Id: 1", "X-Process-Time: 0.1", "X-Powered-By: Express", "X-Total-Count: 9", "X-RateLimit-Limit: 9", "HX-Redirect: x", "HX-Trigger: a", "Tus-Resumable: 1.0.0", "Upload-Offset: 9", "DAV: 1, 2", "MS-Author-Via: DAV", "Lock-Token: <opaquelocktoken:a>", "Allow: GET", "Mcp-Session-Id: a", "Grpc-Status: 0",
        'ETag: "a"', "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT", "Expires: 0", "Pragma: no-cache", "Vary: Accept, Cookie", "Accept-Ranges: bytes", "Content-Range: bytes 0-1/2", "Retry-After: 1", "Content-Encoding: br", "Content-Language: de", "Permissions-Policy: camera=()", "Cross-Origin-Embedder-Policy: require-corp", "Cross-Origin-Resource-Policy: same-origin", "SourceMap: a.map", "Server-Timing: a;dur=1", "X-UA-Compatible: IE=edge", "X-Robots-Tag: noindex",
    )},
}  # fmt: skip
"""A field of a notebook and how its visitor sees it; None where they do not."""

COOKIES = (
    "a=b", "a=b; Path=/", "a=b; path=/user/", "a=b; Path={base}x; Path=/", "a=b; Path=/; PATH = {base}", "a=b; Path={base}../", 'a=b;Path="{base}"', "a=b; Path", "a=b; Path={base}" + "x" * 2000, "a=b; Domain=example.org", "a=b; domain", "a=b; DOMAIN = .org; Domain=", "a=b;\tDomain\t=\tx",
    "a=b; Secure; HttpOnly; SameSite=None; Partitioned; Max-Age=99999999", "a=b; Expires=Wed, 01 Jan 2030 00:00:00 GMT", "a=b, tmppool=c", 'a="b; Path=/; c"', "a=b; ; ;; Path=/;", "a", "a=", "a=b=c; Path=/", "$Path=/; a=b", "a=\xff\xfe; Path=/",
    "tmppool=evil", "TMPPOOL=evil", "TmpPool=evil; Path={base}", "  tmppool  =evil", "\ttmppool=evil", "tmppool", "tmppool-0123456789abcdef=evil", "TMPPOOL-x=evil", "__Host-tmppool=evil; Secure; Path=/", "__host-TMPPOOL=evil", "__HOST-x=evil", "__Secure-tmppool=evil; Secure", "__secure-x=b; Secure",
    "__Http-x=b", "__HTTP-Tmppool=evil", "__Http-tmppool_code=evil", "user[0]=b", "rs:x=b", "__Host-Http-x=evil", "=tmppool=evil", "=__Host-tmppool=evil", "=evil", "", ";", "; Path=/", " ;tmppool=evil", '"tmppool"=evil', "\xa0tmppool=evil", "\xc2\xa0tmppool=evil", "\xe2\x80\x83__Host-tmppool=evil", "tmppool\xc2\xa0=evil", "tmp pool=evil", "a\tb=evil", "(a)=b", "a" * 5000 + "=evil",
    "tmppool\xad=evil", "a,tmppool=evil", "a=" + "evil" * 2000,
)  # fmt: skip
"""What a notebook says behind Set-Cookie; ``evil`` where no browser may have it."""

CACHING = {
    "": "private", "public": "private", "Public, max-age=60": "private, max-age=60", "max-age=31536000, immutable, PUBLIC": "private, max-age=31536000, immutable", "s-maxage=9999": "private", "S-MaxAge = 9999": "private", 's-maxage="9999", max-age="60"': 'private, max-age="60"', "no-store": "private, no-store", "no-cache, no-store, must-revalidate": "private, no-cache, no-store, must-revalidate",
    "private": "private", 'private="set-cookie"': "private", 'private="set-cookie, x", public': "private", 'no-cache="Set-Cookie"': 'private, no-cache="set-cookie"', "public,\tmax-age=60,,": "private, max-age=60", "public\\, public": "private", '"public, max-age=60': "private, max-age=60", "public; s-maxage=9": "private", "proxy-revalidate, must-understand": "private", "stale-while-revalidate=60": "private, stale-while-revalidate=60", "max-age=1 s-maxage=9": "private", "pub lic": "private", "\xa0public": "private",
}  # fmt: skip
"""What a notebook says behind Cache-Control, and what its visitor is told: never that a shared cache may store it."""
