"""Valid requests with bytes changed, in pieces: whatever comes, three readers agree on what reached the notebook."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import h11
import pytest
import pytest_asyncio
from aiohttp.http_exceptions import BadHttpMethod
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.proxy.corpus import CASES, PASSED, Case
from tests.proxy.corpus_readers import Seen, by_h11, by_llhttp, strict
from tests.proxy.stage import CutError, EagerPeer, House, quiet, scripted
from tests.proxy.test_corpus import SEEN, Recorder, check_seen, filled, pieces, say
from tmppool.proxy.wire import BadMessageError, parse_request

pytestmark = pytest.mark.corpus

SEEDS = [case for case in CASES if case.expect[0] == PASSED and len(case.raw) < 600]
_REST = 3.0  # seconds for the rest of an answer of which something is there
BYTES = b'\r\n\x00\t\x0b\x20:;,=%./\\#?@"0159aAfFxX-_+\x7f\x80\xff'


@st.composite
def changed(draw: st.DrawFn) -> tuple[Case, list[tuple[str, float, bytes]]]:
    """A valid request, and what to do with its bytes: each change at a part of its length."""
    change = st.tuples(
        st.sampled_from(["delete", "insert", "replace", "double"]),
        st.floats(0, 1),
        st.one_of(st.sampled_from([bytes([byte]) for byte in BYTES]), st.binary(min_size=1, max_size=3), lines),
    )
    return draw(st.sampled_from(SEEDS)), draw(st.lists(change, min_size=1, max_size=4))


lines = st.sampled_from([
    b"\r\n", b"\r\n\r\n", b"\r\nContent-Length: 3", b"\r\nTransfer-Encoding: chunked", b"\r\nHost: evil", b"0\r\n\r\n", b"\n\n", b"\r\n ", b"GET /zq7 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\r\nConnection: close", b"\r\nConnection: Host, Cookie", b"\r\nUpgrade: websocket\r\nConnection: upgrade", b"\r\nExpect: 100-continue", b"%2e%2e/", b"\r\nCookie: tmppool=a",
])  # fmt: skip


def apply(raw: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    for verb, part, data in changes:
        place = int(part * len(raw))
        match verb:
            case "delete":
                raw = raw[:place] + raw[place + len(data) :]
            case "insert":
                raw = raw[:place] + data + raw[place:]
            case "replace":
                raw = raw[:place] + data + raw[place + len(data) :]
            case _:
                raw = raw[:place] + raw[max(0, place - 20) :]
    return raw


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[House, Recorder, list[object]]]:
    recorder = Recorder()
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
    async with scripted(tmp_path_factory.mktemp("state"), recorder) as house:
        yield house, recorder, failures


async def answers(visitor: EagerPeer) -> list[int]:
    """Return the statuses that came; what came is a row of answers, the last of them perhaps not whole."""
    found = []
    with contextlib.suppress(CutError, TimeoutError):
        while not visitor.is_silent:
            async with asyncio.timeout(_REST):
                answer = await visitor.answer()
            if answer.status >= 200:
                found.append(answer.status)
    return found


def all_read(data: bytes) -> list[Seen]:
    """Return the whole requests in what may have been broken off: all three see the same."""
    (ours, _), (h11s, _) = strict(data), by_h11(data)
    assert ours == h11s
    with contextlib.suppress(BadHttpMethod):  # llhttp knows no methods but its own
        assert ours == by_llhttp(data)[0]
    return ours


@pytest.mark.asyncio(loop_scope="module")
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(changed(), st.lists(st.floats(0, 1), max_size=4))
async def test_no_change_of_a_request_makes_it_two(
    stand: tuple[House, Recorder, list[object]],
    change: tuple[Case, list[tuple[str, float, bytes]]],
    places: list[float],
) -> None:
    house, recorder, failures = stand
    case, changes = change
    raw = apply(filled(house, case.raw), changes)
    mark = recorder.mark()
    visitor = await EagerPeer.connect(house.port)
    await say(visitor, pieces(raw, sorted({int(place * len(raw)) for place in places})))
    assert (await house.ask("GET", "/health")).status == 200  # by then the service has read it all
    house.visitors.pop().close()
    await quiet()
    statuses = await answers(visitor)
    await visitor.leave()
    await quiet()
    seen = [each for line in recorder.since(mark) for each in all_read(line)]
    for each in seen:
        assert each.target.startswith(house.base)
        if b"gone" not in raw and b"smuggled" not in raw:
            check_seen(house, each)
    assert statuses.count(SEEN) <= len(seen)
    assert failures == []


@settings(max_examples=2000, deadline=None)
@given(changed())
def test_a_head_that_is_taken_is_read_alike_by_others(change: tuple[Case, list[tuple[str, float, bytes]]]) -> None:
    case, changes = change
    text = case.raw.replace("{owner}", "Cookie: a=b")
    raw = apply(text.replace("{base}", "/user/0123456789abcdef/").replace("{host}", "h").encode("latin-1"), changes)
    head, end, _ = raw.partition(b"\r\n\r\n")
    try:
        request = parse_request(head + end)
    except BadMessageError:
        return
    if request.correction is not None:
        return  # it is answered by us, and nothing follows
    reader = h11.Connection(h11.SERVER)
    _, _, behind_target = (head + end).split(b" ", 2)
    reader.receive_data(b"%b %b %b" % (request.method, request.target.encode(), behind_target))  # in origin form
    try:
        event = reader.next_event()
    except h11.RemoteProtocolError:
        return  # it takes less: no second reading
    assert isinstance(event, h11.Request)
    assert event.method == request.method
    assert event.target.decode() == request.target
    found = [(name, line.partition(b":")[2].strip(b" \t")) for name, line in request.fields.lines]
    assert [name for name, _ in event.headers] == [name for name, _ in found]
    others = [(name, value) for name, value in event.headers if name not in (b"content-length", b"transfer-encoding")]
    assert others == [(name, value) for name, value in found if name not in (b"content-length", b"transfer-encoding")]
