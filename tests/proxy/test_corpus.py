"""Every request of the corpus against the service, with a notebook that writes down each byte that reaches it."""

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from aiohttp.http import SERVER_SOFTWARE

from tests.proxy.corpus import CASES, MOVED, NO_PLACE, OWN, PASSED, REFUSED, UNCLEAR, WAITS, Case
from tests.proxy.corpus_readers import Seen, agreed, by_h11, strict, whole
from tests.proxy.stage import CutError, EagerPeer, House, Message, Peer, eventually, quiet, scripted
from tmppool.proxy import headers
from tmppool.proxy.wire import parse_request

pytestmark = [pytest.mark.corpus, pytest.mark.asyncio(loop_scope="module")]

TO_NOTEBOOK = re.compile(r"\A((?:\r\n)*[^\r\n]*\{base\}[^\r\n]* HTTP/1\.[01])(?=\r\n)")
SEEN = 299  # the status by which the notebook's answers are told from the service's
_LATEST = b"the latest"
NO_PLACES = (400, 403, 404, 405, 424)


class Recorder:
    """A notebook's server. ``raw`` holds what came, by connection; each whole request is answered with its target."""

    def __init__(self) -> None:
        self.raw: list[bytearray] = []
        self.unfinished: set[Peer] = set()  # where a request is awaited or has begun

    async def __call__(self, connection: Peer) -> None:
        raw = bytearray()
        self.raw.append(raw)
        self.unfinished.add(connection)  # whoever connects is about to ask
        try:
            await self._serve(connection, raw)
        finally:
            self.unfinished.discard(connection)

    async def _serve(self, connection: Peer, raw: bytearray) -> None:
        answered = 0
        while data := await connection.loop.sock_recv(connection.sock, 1 << 18):
            raw += data
            self.unfinished.add(connection)
            found, left = strict(bytes(raw[answered:]))
            answered = len(raw) - len(left)
            if not left:
                self.unfinished.discard(connection)
            for seen in found:
                body = b"" if seen.method == "HEAD" else seen.target.encode()
                await connection.send(b"HTTP/1.1 299 Seen\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def catch_up(self, port: int) -> None:
        """Return when everything that was sent to it before has come, and nothing is awaited any more."""
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_LATEST)
        writer.close()
        await eventually(lambda: _LATEST in self.raw)  # connections are accepted in their order
        self.raw[self.raw.index(_LATEST)].clear()
        await eventually(lambda: not self.unfinished)

    def since(self, mark: list[int]) -> list[bytes]:
        """What came of visitors since ``mark``, by connection, where something came.

        What the service asks on its own behalf, as a knock every 15 seconds, says so by its User-Agent.
        """
        new = (bytes(raw[start:]) for raw, start in itertools.zip_longest(self.raw, mark, fillvalue=0))
        return [part for part in new if part and SERVER_SOFTWARE.encode() not in part]

    def mark(self) -> list[int]:
        return [len(raw) for raw in self.raw]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[House, Recorder]]:
    recorder = Recorder()
    async with scripted(tmp_path_factory.mktemp("state"), recorder) as house:
        yield house, recorder


def filled(house: House, text: str) -> bytes:
    """Return the bytes of a case."""
    if "{owner}" not in text.strip("\r\n").partition("\r\n\r\n")[0]:
        text = TO_NOTEBOOK.sub(r"\1\r\n{owner}", text)
    known = {
        "owner": house.cookie,
        "base": house.base,
        "host": f"127.0.0.1:{house.port}",
        "key": house.key,
        "via": headers._PSEUDONYM.decode(),
    }
    for name, value in known.items():
        text = text.replace(f"{{{name}}}", value)
    return text.encode("latin-1")


def pieces(raw: bytes, places: list[int]) -> list[bytes]:
    return [raw[one:other] for one, other in itertools.pairwise([0, *places, len(raw)])]


def splits(raw: bytes) -> Iterator[list[bytes]]:
    """In two pieces at a few places, and the short ones byte by byte."""
    for place in sorted(
        {1, raw.find(b"\r\n") + 1, len(raw) // 3, 2 * len(raw) // 3, len(raw) - 1} & set(range(1, len(raw)))
    ):
        yield pieces(raw, [place])
    if len(raw) <= 400:
        yield pieces(raw, list(range(1, len(raw))))


async def say(visitor: Peer, parts: list[bytes]) -> None:
    with contextlib.suppress(ConnectionError, CutError):
        for part in parts:
            await visitor.send(part)
            for _ in range(2 if len(parts) > 1 else 0):
                await asyncio.sleep(0)


async def final(visitor: Peer, method: str) -> Message:
    while (answer := await visitor.answer(method)).status == 100:
        pass
    return answer


def check_answer(expect: str, answer: Message) -> None:
    assert (answer.status == SEEN) == (expect == PASSED), answer.start
    if expect in (REFUSED, NO_PLACE):
        assert (
            answer.status in (400, 403, 405, 413, 414, 417, 431, 508)
            if expect == REFUSED
            else answer.status in NO_PLACES
        )
        assert answer.status == 424 or answer.fields["X-Content-Type-Options"] == "nosniff"
    if expect in (UNCLEAR, MOVED):
        assert (answer.status, answer.fields["Connection"]) == (400 if expect == UNCLEAR else 308, "close")
        assert answer.fields.get("Content-Type", "").startswith("text/plain") is False
    if expect == MOVED:
        assert re.match(r"/(?![/\\])[\x21\x22\x24-\x7e]*$", answer.fields["Location"])
        assert parse_request(f"GET {answer.fields['Location']} HTTP/1.1\r\nHost: h\r\n\r\n".encode()).correction is None
    if expect == REFUSED:
        assert answer.fields["Connection"] == "close"
        assert answer.fields["Content-Type"].startswith("text/plain")
    if expect == OWN:
        assert answer.status < 500
    if answer.status >= 400:
        whole_answer = "\r\n".join([answer.start, *answer.lines]).encode() + answer.body
        assert b"zq7" not in whole_answer, "the refusal repeats what was asked"


def check_seen(house: House, seen: Seen) -> None:
    """What holds for whatever reaches a notebook."""
    names = {name for name, _ in seen.fields}
    assert seen.values("authorization") == [f"token token-of-{house.key}"]
    assert seen.values("x-forwarded-for") == seen.values("x-real-ip") == ["127.0.0.1"]
    assert len(seen.values("host")) == 1
    assert names.isdisjoint(
        {"keep-alive", "proxy-connection", "te", "trailer", "expect", "http2-settings", "forwarded"}
    )
    is_websocket = [value.lower() for value in seen.values("upgrade")] == ["websocket"]
    assert is_websocket or names.isdisjoint({"upgrade", "connection"})
    assert not any("_" in name for name in names)
    text = repr(seen)
    assert "gone" not in text
    assert "smuggled" not in seen.target
    assert seen.target.startswith(house.base)


async def play(stand: tuple[House, Recorder], case: Case, parts: list[bytes]) -> list[object]:
    """Send the case, check what becomes of it at both ends; returns what a split must not change."""
    house, recorder = stand
    mark = recorder.mark()
    visitor = await EagerPeer.connect(house.port)
    method = "HEAD" if case.raw.startswith("HEAD") else "GET"
    outcome: list[object] = []
    try:
        saying = asyncio.get_running_loop().create_task(say(visitor, parts))
        for expect in case.expect:
            if expect != WAITS:
                answer = await final(visitor, method)
                check_answer(expect, answer)
                outcome.append((answer.status, answer.body))
        await saying
        if case.expect[-1] == WAITS:
            await canary(house, await EagerPeer.connect(house.port))
            assert visitor.is_silent
        elif REFUSED in case.expect or not case.keeps or closes(answer):
            assert visitor.held == b""
            assert await visitor.is_closed(), "a second answer"
        else:
            await canary(house, visitor, leave=False)
    finally:
        await visitor.leave()
    if case.fault_in_body or case.expect[-1] in (WAITS, REFUSED):
        await recorder.catch_up(house.stranger.port)
        await quiet()
    check_upstream(house, case, recorder.since(mark), is_whole=len(parts) == 1)
    return outcome


def closes(answer: Message) -> bool:
    return answer.start.startswith("HTTP/1.0") or answer.fields.get("Connection") == "close"


_count = itertools.count()


async def canary(house: House, visitor: EagerPeer, *, leave: bool = True) -> None:
    """The next request gets its own answer."""
    path = f"canary/{next(_count)}"
    await visitor.send(house.head("GET", path))
    answer = await final(visitor, "GET")
    assert (answer.status, answer.body) == (SEEN, (house.base + path).encode())
    if leave:
        await visitor.leave()


def check_upstream(house: House, case: Case, lines: list[bytes], *, is_whole: bool) -> None:
    if case.expect[-1] == WAITS or (case.fault_in_body and not is_whole):
        lines = [line for line in lines if not is_beginning(line)]
    seen = [each for line in lines for each in agreed(line) if "/canary/" not in each.target]
    assert len(seen) == case.expect.count(PASSED)
    for each in seen:
        check_seen(house, each)


def is_beginning(line: bytes) -> bool:
    """Whether this was broken off before it was a request, to all three."""
    return whole(line) == [[], [], []]


def named(cases: list[Case]) -> dict[str, list[Case]]:
    return {"argvalues": cases, "ids": [case.id.encode("unicode_escape").decode()[:80] for case in cases]}


@pytest.mark.parametrize("case", **named(CASES))
async def test_a_request_is_one_request_or_none(stand: tuple[House, Recorder], case: Case) -> None:
    raw = filled(stand[0], case.raw)
    await play(stand, case, [raw])


SHORT = [case for case in CASES if len(case.raw) < 2000]


@pytest.mark.parametrize("number", range(20))
async def test_no_split_changes_what_becomes_of_a_request(stand: tuple[House, Recorder], number: int) -> None:
    for case in SHORT[number::20]:
        raw = filled(stand[0], case.raw)
        outcomes = [await play(stand, case, parts) for parts in [[raw], *splits(raw)]]
        assert all(outcome == outcomes[0] for outcome in outcomes), case.id


@pytest.mark.parametrize("case", **named(SHORT[7::100]))
async def test_no_byte_is_one_where_a_split_matters(stand: tuple[House, Recorder], case: Case) -> None:
    raw = filled(stand[0], case.raw)
    outcomes = [await play(stand, case, pieces(raw, [place])) for place in range(1, len(raw))]
    assert all(outcome == outcomes[0] for outcome in outcomes)


async def test_the_corpus_is_large_and_every_rule_is_in_it() -> None:
    assert len({case.raw for case in CASES}) == len(CASES) >= 350
    rules = {case.id[:4] for case in CASES}
    elsewhere = {"H-13", "H-18", "H-26"}  # what notebooks answer: corpus_answers.py
    assert {f"H-{number:02}" for number in range(1, 28)} - elsewhere <= rules


async def test_a_fault_in_a_body_for_us_brings_one_answer_and_no_second_one(stand: tuple[House, Recorder]) -> None:
    house, recorder = stand
    mark = recorder.mark()
    visitor = await EagerPeer.connect(house.port)
    await visitor.send(house.head("POST", "/nowhere", "Transfer-Encoding: chunked"))
    await asyncio.sleep(0.05)
    assert visitor.is_silent  # no handler is asked before the body is whole
    await visitor.send(b"zq7\r\n" + house.head("GET", "smuggled"))
    assert (await final(visitor, "POST")).status == 400
    assert await visitor.is_closed()
    await visitor.leave()
    assert recorder.since(mark) == []


@pytest.mark.parametrize("method", ["X-OWN", "get", "M!#$%&'*+-.^`|~9"])
async def test_a_method_that_llhttp_does_not_know_is_one_request_to_the_others(
    stand: tuple[House, Recorder], method: str
) -> None:
    house, recorder = stand
    mark = recorder.mark()
    assert (await house.ask(method, "x")).status == SEEN
    (line,) = recorder.since(mark)
    assert strict(line) == by_h11(line) == (strict(line)[0], b"")
    assert [seen.method for seen in strict(line)[0]] == [method]


MANY = "; ".join(f"c{number}={'x' * 900}" for number in range(30))


@pytest.mark.parametrize(
    ("line", "is_taken"),
    [
        ("Cookie: " + MANY, True),
        (f"Cookie: {MANY}; tmppool=0123456789abcdef; {MANY}", True),
        ("A: " + MANY, False),
        (f"A: {MANY}\r\nCookie: {MANY}", False),
        ("Cookie: " + MANY * 40, False),
    ],
)
@pytest.mark.parametrize(("target", "status"), [("{base}x", SEEN), ("/health", 200)])
async def test_a_browser_that_was_filled_with_cookies_is_served_and_keeps_them(
    stand: tuple[House, Recorder],
    target: str,
    status: int,
    line: str,
    is_taken: bool,  # noqa: FBT001
) -> None:
    house, recorder = stand
    mark = recorder.mark()
    visitor = await EagerPeer.connect(house.port)
    await visitor.send(filled(house, f"GET {target} HTTP/1.1\r\nHost: {{host}}\r\n{line}\r\n\r\n"))
    answer = await final(visitor, "GET")
    assert answer.status == (status if is_taken else 431)
    assert "Clear-Site-Data" not in answer.fields
    assert is_taken or await visitor.is_closed()
    await visitor.leave()
    assert not any(b"ookie" in seen for seen in recorder.since(mark))
