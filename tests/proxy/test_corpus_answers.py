"""Every hostile answer of the corpus, seen by the visitor byte for byte."""

import asyncio
import itertools
import unicodedata
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.proxy.corpus_answers import ANSWERS, BROKEN, CACHING, COOKIES, FIELDS, WHOLE, Answer
from tests.proxy.stage import CutError, EagerPeer, House, Message, Peer, eventually, scripted
from tmppool.proxy import headers

pytestmark = [pytest.mark.corpus, pytest.mark.asyncio(loop_scope="module")]


class Liar:
    """A notebook's server that says ``raw`` to a request below ``lie``, and to others their target."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.closes = False
        self.connections: dict[str, Peer] = {}  # by the target that came on it
        self.dropped: set[Peer] = set()

    async def __call__(self, connection: Peer) -> None:
        try:
            while data := await connection.loop.sock_recv(connection.sock, 1 << 18):
                target = data.split(b" ", 2)[1].decode()
                self.connections[target] = connection
                if "/lie/" in target:
                    await self._lie(connection)
                    if self.closes:
                        connection.close()
                        return
                else:
                    await connection.send(
                        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target.encode())
                    )
        except OSError:
            pass
        finally:
            self.dropped.add(connection)

    async def _lie(self, connection: Peer) -> None:
        for piece in self.raw:
            await connection.send(piece)
            await asyncio.sleep(0.002 if len(self.raw) > 1 else 0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[House, Liar]]:
    liar = Liar()
    async with scripted(tmp_path_factory.mktemp("state"), liar) as house:
        yield house, liar


_count = itertools.count()


async def canary(house: House, visitor: Peer) -> None:
    """The next request on the connection gets its own answer."""
    path = f"canary/{next(_count)}"
    await visitor.send(house.head("GET", path))
    answer = await visitor.answer()
    assert (answer.status, answer.body) == (200, (house.base + path).encode())


async def lied(stand: tuple[House, Liar], case: Answer, pieces: list[bytes]) -> None:
    house, liar = stand
    liar.raw, liar.closes = pieces, case.closes
    path = f"lie/{next(_count)}"
    visitor = await EagerPeer.connect(house.port)
    try:
        await visitor.send(house.head(case.method, path, *case.lines))
        await hear(house, visitor, case, is_split=len(pieces) > 1)
    finally:
        await visitor.leave()
    connection = liar.connections[house.base + path]
    if case.expect != WHOLE or " behind " in case.id or "204 with" in case.id:
        await eventually(lambda: connection in liar.dropped)  # it has no second use


async def hear(house: House, visitor: EagerPeer, case: Answer, *, is_split: bool) -> None:
    try:
        answer = await visitor.answer(case.method)
    except CutError:
        assert case.expect == BROKEN
        return
    if case.expect == WHOLE:
        assert answer.body.decode("latin-1") == case.body
        assert answer.status in (200, 204, 304, 403)
        assert "evil" not in "".join(answer.lines)
    else:
        assert answer.status == 502
        assert b"evil" not in answer.body
        assert "evil" not in "".join([answer.start, *answer.lines])
    if answer.fields.get("Connection") == "close":
        assert case.method == "POST"
        assert await visitor.is_closed()
    else:
        assert visitor.held == b""
        await visitor.send(house.head("GET", "/robots.txt"))
        assert b"User-agent" in (await visitor.answer()).body
        if not is_split:  # what comes late may be said to the next request, which is the notebook's own to answer
            await canary(house, visitor)
            await canary(house, visitor)


def named(case: Answer) -> str:
    return case.id.encode("unicode_escape").decode()[:80]


@pytest.mark.parametrize("case", ANSWERS, ids=named)
async def test_an_answer_is_whole_or_does_not_look_so_and_none_becomes_the_next_ones(
    stand: tuple[House, Liar], case: Answer
) -> None:
    raw = case.raw.encode("latin-1")
    await lied(stand, case, [raw])


@pytest.mark.parametrize("number", range(4))
async def test_no_split_makes_an_answer_look_better(stand: tuple[House, Liar], number: int) -> None:
    for case in [case for case in ANSWERS if 1 < len(case.raw) < 2000][number::4]:
        raw = case.raw.encode("latin-1")
        end = raw.find(b"\r\n\r\n") + 4
        for place in {1, raw.find(b"\r\n") + 1, end, end + 8, len(raw) - 1} & set(range(1, len(raw))):
            await lied(stand, case, [raw[:place], raw[place:]])


async def said(stand: tuple[House, Liar], line: str) -> Message:
    """Return what a visitor sees of an answer with this line."""
    house, liar = stand
    head = f"HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: 2\r\n\r\nok"
    liar.raw, liar.closes = [head.encode("latin-1")], False
    answer = await house.ask("GET", f"lie/{next(_count)}")
    house.visitors.pop().close()
    assert answer.body == b"ok"
    return answer


POLICY = ["Cache-Control: private", *(line.decode() for line in (headers.FRAME_POLICY, headers.REFERRER_POLICY))]


@pytest.mark.parametrize("line", FIELDS, ids=lambda line: line[:60])
async def test_a_field_of_a_notebook_reaches_no_further_than_its_pages(stand: tuple[House, Liar], line: str) -> None:
    base = stand[0].base
    answer = await said(stand, line.replace("{base}", base))
    ours = {*POLICY, headers.VARIANTS.decode()}
    seen = [each for each in answer.lines if not each.startswith(("Date:", "Content-Length:")) and each not in ours]
    wanted = FIELDS[line]
    assert seen == ([] if wanted is None else [wanted.replace("{base}", base)])
    assert [each for each in answer.lines if each in POLICY] == POLICY


@pytest.mark.parametrize("value", CACHING, ids=lambda value: repr(value)[:60])
async def test_what_a_notebook_says_of_caches_is_for_its_visitors_browser(
    stand: tuple[House, Liar], value: str
) -> None:
    answer = await said(stand, f"Cache-Control: {value}")
    assert answer.fields.getall("Cache-Control") == [CACHING[value]]


def as_browsers_do(cookie: str) -> tuple[str, dict[str, str]]:
    """Read a Set-Cookie: the name, and the attributes, of which the last of a name counts (RFC 6265bis section 5.6)."""
    pair, *attributes = cookie.split(";")
    name = pair.partition("=")[0].strip(" \t") if "=" in pair else ""
    found = (attribute.strip(" \t").partition("=") for attribute in attributes)
    return name or pair.strip(" \t"), {
        key.strip(" \t").lower(): value.strip(" \t") for key, _, value in found if len(value) <= 1024
    }


@pytest.mark.parametrize("cookie", COOKIES, ids=lambda cookie: repr(cookie)[:60])
async def test_a_cookie_of_a_notebook_stays_below_it_and_is_none_of_ours(
    stand: tuple[House, Liar], cookie: str
) -> None:
    house, _ = stand
    answer = await said(stand, "Set-Cookie: " + cookie.replace("{base}", house.base))
    found = answer.fields.getall("Set-Cookie", [])
    assert len(found) == ("evil" not in cookie and bool(as_browsers_do(cookie)[0]) and cookie != "tmppool")
    for each in found:
        name, attributes = as_browsers_do(each)
        bare = unicodedata.normalize("NFKC", name).strip().strip('"').lower()
        assert not bare.startswith(("tmppool", "__host-", "__secure-tmppool", "__http-tmppool"))
        assert "domain" not in attributes
        assert attributes["path"].startswith(house.base)


async def test_a_notebook_that_speaks_first_is_heard_by_nobody(stand: tuple[House, Liar]) -> None:
    house, liar = stand
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    async def first(connection: Peer) -> None:
        await connection.send(evil)
        await liar(connection)

    house.stranger.script = first
    try:
        for _ in range(5):
            answer = await house.ask("POST", "x", "Content-Length: 0")  # always on a line of its own
            assert (answer.status, b"evil" in answer.body) == (502, False)
            house.visitors.pop().close()
    finally:
        house.stranger.script = liar


async def test_the_corpus_of_answers_is_large_and_every_rule_is_in_it() -> None:
    assert len({case.raw for case in ANSWERS}) >= 100
    assert {case.id[:4] for case in ANSWERS} >= {"H-13", "H-18", "H-19"}
    assert any(line.startswith("Location") for line in FIELDS)  # H-26
