"""Bytes on both listeners: an answer below 500 or an end, nothing in the log, and the next visitor is served."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.fuzz.effort import examples
from tests.web.guests import PATIENCE, Place
from tmppool.keys import GRAMMAR

pytestmark = pytest.mark.corpus

SILENCE = 0.02  # seconds after which no more is expected of a server that waits for the rest of a request
CANARY = b"canary4711"
FORM = b"ticket=" + CANARY

SEEDS = [
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /lab/tree/a.ipynb?x=1&pool=tmppool HTTP/1.1\r\nHost: h\r\nAccept: text/html\r\n\r\n",
    b"GET /spawn/notebooks/%s HTTP/1.1\r\nHost: h\r\nCookie: tmppool=%s; a=b\r\n\r\n" % (CANARY, CANARY * 3),
    b"POST /spawn/tree HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s"
    % (len(FORM), FORM),
    b"POST /spawn HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n11\r\n%s\r\n0\r\n\r\n" % FORM,
    b"POST /api/spawn HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
    b"OPTIONS /api/spawn HTTP/1.1\r\nHost: h\r\nOrigin: http://o\r\n\r\n",
    b"GET /api/stats?pool=%s HTTP/1.1\r\nHost: h\r\n\r\n" % CANARY,
    b"GET /api/session/%s HTTP/1.1\r\nHost: h\r\n\r\n" % (b"k" * 22),
    b"POST /api/session/%s/extend HTTP/1.1\r\nHost: h\r\nSec-Fetch-Site: same-origin\r\n\r\n" % (b"k" * 22),
    b"DELETE /api/session/%s HTTP/1.1\r\nHost: h\r\nAuthorization: token %s\r\n\r\n" % (b"k" * 22, CANARY),
    b"GET /user/%s/lab?%s HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n" % (b"k" * 22, CANARY),
    b"GET /user/%s/api/kernels/x/channels HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % (b"k" * 22),
    b"GET /health HTTP/1.0\r\n\r\nGET /health HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /static/style.css?v=%s HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\n\r\n" % CANARY,
    b"GET /api/openapi.json HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n",
    b"DELETE /api/pool HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /api/notebooks HTTP/1.1\r\nHost: h\r\nAuthorization: token %s\r\n\r\n" % CANARY,
    b"DELETE /api/notebooks/%s HTTP/1.1\r\nHost: h\r\n\r\n" % CANARY,
    b"GET /metrics HTTP/1.1\r\nHost: h\r\nAccept: text/plain\r\n\r\n",
]

FIELDS = [
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Content-Encoding: gzip",
    b"Content-Encoding: deflate",
    b"Content-Type: multipart/form-data; boundary=%s" % CANARY,
    b"Content-Type: text/plain; charset=%s" % CANARY,
    b"Content-Type: application/x-www-form-urlencoded; charset=\xff",
    b"Expect: 100-continue",
    b"Expect: %s" % CANARY,
    b"Upgrade: websocket",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s" % CANARY,
    b"Upgrade: h2c",
    b"Connection: close, Upgrade, keep-alive",
    b"Host: [",
    b"Host: a b:99999999",
    b"Host:",
    b"Cookie: tmppool=" + b"\xff" * 22,
    b'Cookie: tmppool="\\',
    b"Cookie: ;;==;=tmppool;\x80",
    b"Origin: http://[::1",
    b"Origin: null",
    b"Sec-Fetch-Mode: navigate",
    b"Sec-Fetch-Site: cross-site",
    b"Authorization: token \xff\xfe",
    b"Authorization: Basic \x80",
    b"X-Forwarded-For: ,,%s, [::1]:80" % CANARY,
    b"X-Forwarded-Proto: https\xff",
    b"If-Modified-Since: %s" % CANARY,
    b"Range: bytes=%s" % CANARY,
    b"Sec-WebSocket-Version: 99",
    b"Long: " + CANARY * 1000,
    b"Long: " + CANARY * 4000,
    CANARY * 900 + b": 1",
]

TARGETS = [
    b"*",
    b"//",
    b"//evil.example/lab",
    b"/\\evil.example",
    b"http://evil.example/",
    b"/spawn//evil.example",
    b"/spawn/\\evil.example",
    b"/spawn/%2f%2fevil.example/",
    b"/user/",
    b"/user/%00",
    b"/user/" + b"k" * 22,
    b"/user/" + b"k" * 22 + b"/../../metrics",
    b"/api/session/%ff%fe",
    b"/api/session/" + b"%2e%2e%2f" * 4,
    b"/static/..%2f..%2fapp.py",
    b"/lab?pool=%ff",
    b"/lab?pool=" + CANARY,
    b"//[::1/",
    b"/[",
    b"/lab?" + b"&" * 3000,
    b"/" + CANARY * 1000,
    b"/lab/tree/" + CANARY * 1500 + b".ipynb",
    b"/lab#x",
    b"/%",
    b"/lab/tree/%ff%00%0d%0a.ipynb",
    b"/doc/tree/%ed%a0%80.ipynb",
    b"/?%0d%0aSet-Cookie:x=y",
]

METHODS = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"PATCH",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"get",
    b"X" * 40,
]

any_target = st.one_of(
    st.sampled_from(TARGETS),
    st.builds(
        lambda start, text: start + "".join(text).encode(),
        st.sampled_from(
            [
                b"/",
                b"/spawn/",
                b"/lab/",
                b"/user/",
                b"/api/session/",
                b"/api/notebooks/",
                b"/static/",
                b"/user/" + b"k" * 22,
            ]
        ),
        st.lists(
            st.sampled_from([*"/%?#&=;@:\\.{}[]|^`\"<>'~aZ09_-+$!,*()", "%2f", "%00", "%ff", "..", "pool=", ".ipynb"]),
            max_size=30,
        ),
    ),
)


@st.composite
def requests(draw: st.DrawFn) -> list[bytes]:
    """A request that was once in order, in the pieces in which it is sent."""
    text = draw(st.sampled_from(SEEDS))
    for change in draw(st.lists(st.sampled_from(["method", "target", "field", "bytes", "cut", "twice"]), max_size=3)):
        first, end, rest = text.partition(b"\r\n")
        words = first.split(b" ")
        if change == "method":
            text = b" ".join([draw(st.sampled_from(METHODS)), *words[1:]]) + end + rest
        elif change == "target":
            text = b" ".join([words[0], draw(any_target), *words[-1:]]) + end + rest
        elif change == "field":
            text = first + b"\r\n" + draw(st.sampled_from(FIELDS)) + b"\r\n" + rest
        elif change == "bytes":
            at = draw(st.integers(0, len(text)))
            text = text[:at] + draw(st.binary(max_size=8)) + text[at + draw(st.integers(0, 8)) :]
        elif change == "cut":
            text = text[: draw(st.integers(0, len(text)))]
        else:
            text += text
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=2)))
    return [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]


anything = st.one_of(st.lists(st.binary(max_size=300), min_size=1, max_size=3), requests(), requests(), requests())


@pytest.fixture
async def place(open_place: Any) -> Place:
    return await open_place(cull_max=0.5, cull_period=0.1, trusted_proxies="127.0.0.0/8")


@pytest.fixture
async def taken(open_place: Any) -> Place:
    """The service with one notebook, which somebody has."""
    place = await open_place(pool_size=1)
    await place.program().post("/api/spawn")
    return place


@asynccontextmanager
async def nothing_said(caplog: pytest.LogCaptureFixture, *, besides: str = "") -> AsyncIterator[None]:
    """Nothing of what is done in here may reach an error log, whoever writes it ``besides`` one logger."""
    loop, unheard = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _loop, context: unheard.append(context))
    caplog.clear()
    with capture_logs() as logs, caplog.at_level(logging.DEBUG):
        yield
    loop.set_exception_handler(None)
    loud = [line for line in logs if line["log_level"] not in ("debug", "info")]
    # The scheduler says that a tick is late, which is not what was asked.
    records = [record for record in caplog.records if not record.name.startswith(("apscheduler", besides or "-"))]
    loud += [record.getMessage() for record in records if record.levelno >= logging.WARNING or record.exc_info]
    assert (loud, unheard) == ([], [])


async def answer_to(port: int, pieces: list[bytes], silence: float = SILENCE) -> bytes:
    """All that comes back until the server ends or falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        while piece := await asyncio.wait_for(reader.read(1 << 16), silence):
            got += piece
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()
    return got


def check(answer: bytes) -> None:
    """What the service itself answers says nothing again of a request that it cannot read."""
    check_status(answer, {503})  # 503: notebooks are being started
    assert not answer.startswith(b"HTTP/1.1 400 ") or CANARY not in answer.partition(b"\r\n\r\n")[2], answer[:600]
    for location in re.findall(rb"\r\nLocation: ([^\r]*)", answer):
        is_correction = answer.startswith(b"HTTP/1.1 308 ") and re.match(rb"/(?![/\\])[\x21-\x7e]*$", location)
        assert is_correction or re.match(rb"/user/%b/" % GRAMMAR.encode(), location), location


def check_status(answer: bytes, others: set[int]) -> None:
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]
    assert answer == b"" or statuses, answer[:300]
    assert all(status < 500 or status in others for status in statuses), answer[:300]


@given(pieces=anything)
@example(pieces=[b"GET / HTTP/1.1\r\nHost: h\r\nCookie: tmppool=" + b"\xff" * 22 + b"\r\n\r\n"])
@example(pieces=[b"get /%s HTTP/1.1\r\nHost: h\r\n\r\n" % CANARY])
@examples(300)
async def test_the_public_listener_answers_or_ends(
    place: Place, caplog: pytest.LogCaptureFixture, pieces: list[bytes]
) -> None:
    async with nothing_said(caplog):
        check(await answer_to(place.port, pieces))
        assert (await answer_to(place.port, [b"GET /robots.txt HTTP/1.0\r\n\r\n"], PATIENCE)).startswith(
            b"HTTP/1.1 200 "
        )


METRICS = b"GET /metrics HTTP/1.0\r\nHost: localhost\r\nAuthorization: token %s\r\n\r\n"


@given(pieces=anything)
@example(pieces=[b"GET /metrics HTTP/1.1\r\nHost: h\r\nCookie: %s\x00\r\n\r\n" % CANARY])
@example(pieces=[b"get /%s HTTP/1.1\r\nHost: h\r\n\r\n" % CANARY])
@examples(150)
async def test_the_admin_listener_answers_or_ends(
    place: Place, caplog: pytest.LogCaptureFixture, pieces: list[bytes]
) -> None:
    port = int(place.admin_url.rpartition(":")[2])
    async with nothing_said(caplog):
        check(await answer_to(port, pieces))
        assert (await answer_to(port, [METRICS % place.operator_token.encode()], PATIENCE)).startswith(b"HTTP/1.1 200 ")


any_suffix = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from([b"/", b"//", b"..", b"?", b"#", b"%00", b"%2e", b"%ff", b"\\", b"lab", b"tree", b"api/kernels", b"\x80", b"\t", b" "]), max_size=12).map(b"".join),
)  # fmt: skip


@given(suffix=any_suffix, method=st.sampled_from(METHODS), field=st.sampled_from([b"A: b", *FIELDS]))
@examples(150)
async def test_any_address_below_a_live_notebook_is_its_own_or_refused(
    taken: Place, caplog: pytest.LogCaptureFixture, suffix: bytes, method: bytes, field: bytes
) -> None:
    (notebook,) = taken.backend.notebooks.values()
    base = notebook.running.base_path.encode()
    request = b"%b %b%b HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % (method, base.removesuffix(b"/"), suffix, field)
    async with nothing_said(caplog, besides="aiohttp.server"):  # where the fake notebook says what it cannot read
        check_status(await answer_to(taken.port, [request]), {502})
    assert all(line.partition(" ")[2].startswith(notebook.running.base_path) for line in notebook.requests[1:])
    notebook.requests[1:] = []
