"""Heads while they arrive: wherever they are cut, the same; however they are cut, cheap."""

import itertools
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tmppool.proxy import head_readers
from tmppool.proxy.faults import Fault
from tmppool.proxy.head_readers import MAX_OWN_COOKIES, RequestHeadReader, ResponseHeadReader
from tmppool.proxy.wire import MAX_REQUEST_HEAD, BadMessageError, parse_request

START = b"GET /x HTTP/1.1\r\nHost: h\r\n"
BIG = b"; ".join(b"c%d=%b" % (number, b"x" * 900) for number in range(60))


def taken(pieces: list[bytes]) -> list[bytes | Fault]:
    """Return the heads in a stream, at last the fault of a refusal, or what is left of the stream when it is long."""
    reader, found = RequestHeadReader(), []
    try:
        for piece in pieces:
            left = piece
            while left:
                head, left = reader.feed(left)
                if head is not None:
                    found.append(head)
    except BadMessageError as error:
        return [*found, error.fault]
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[one:other] for one, other in itertools.pairwise(edges)]


def test_one_head_after_the_other() -> None:
    head = START + b"\r\n"
    assert taken([head * 3]) == [head] * 3
    assert taken([head[:-1], b"\n" + head + head[:5]]) == [head] * 2


def test_it_is_known_whether_a_head_has_begun() -> None:
    reader = RequestHeadReader()
    seen = []
    for piece in (b"\r\n", b"G", b"ET", START[3:], b"\r\n", START + b"Cookie: " + BIG, b"\r\n\r\n"):
        reader.feed(piece)
        seen.append(reader.has_begun)
    assert seen == [False, True, True, True, False, True, False]


# Empty lines


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_a_few_empty_lines_before_a_head_are_none_of_it(step: int) -> None:
    whole = b"\r\n" * head_readers.MAX_EMPTY_LINES + START + b"\r\n"
    assert taken([(whole * 3)[at : at + step] for at in range(0, 3 * len(whole), step)]) == [START + b"\r\n"] * 3
    more = b"\r\n" + whole
    assert taken([more[at : at + step] for at in range(0, len(more), step)]) == [Fault.MALFORMED_HEAD]


def test_many_empty_lines_cost_nothing() -> None:
    assert seconds(lambda: taken([b"\r\n" * 500_000])) < 0.1


# Too many cookies


def thin(*lines: bytes) -> bytes:
    return b"\r\n".join([START[:-2], *lines, b"", b""])


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([b"Cookie: " + BIG], []),
        ([b"Cookie: tmppool=a; " + BIG + b"; tmppool-0a=b; " + BIG + b";__Host-tmppool=c"],
         [b"Cookie: tmppool=a; tmppool-0a=b; __Host-tmppool=c"]),
        ([b"A: b", b"COOKIE:" + BIG, b"C: d", b"cookie: tmppool=a", b"cookie: x=y"], [b"A: b", b"C: d", b"Cookie: tmppool=a"]),
        ([b"Cookie: tmppool=" + b"x" * 20_000, b"A: b"], [b"A: b"]),
        ([b"Cookie: tmppool" + b"x" * 20_000 + b"; tmppool=a"], [b"Cookie: tmppool=a"]),
        ([b"Cookie: a=" + b"x" * 20_000 + b"tmppool=a;tmppool=b"], [b"Cookie: tmppool=b"]),
        ([b"Cookie: " + b"a;" * 20_000 + b"tmppool=a" + b";" * 20_000], [b"Cookie: tmppool=a"]),
        ([b"Cookie: " + b" " * 20_000 + b"tmppool=a"], []),
        ([b"Cookie: " + b"; ".join(b"tmppool-%010d=%b" % (n, b"x" * 32) for n in range(180)) + BIG],
         [b"Cookie: " + b"; ".join(b"tmppool-%010d=%b" % (n, b"x" * 32) for n in range(179))]),
        ([b"X-Cookie: a", b"Cookie: " + BIG * 15], [b"X-Cookie: a"]),
    ],
    ids=lambda lines: repr(lines[0][:30]) if lines else "none",
)  # fmt: skip
def test_a_head_that_only_its_cookies_make_too_long_is_taken_without_them(
    lines: list[bytes], kept: list[bytes]
) -> None:
    whole = thin(*lines) + b"behind"
    reader = RequestHeadReader()
    head, behind = reader.feed(whole)
    assert (head, behind) == (thin(*kept), b"behind")
    parse_request(head)
    for step in (1, 7, 1000, 16_384):
        assert taken([whole[at : at + step] for at in range(0, len(whole) - 6, step)])[0] == head, step


@pytest.mark.parametrize(
    ("head", "fault"),
    [
        (thin(b"A: " + b"x" * MAX_REQUEST_HEAD), Fault.HEAD_TOO_LONG),
        (thin(b"A: " + b"x" * MAX_REQUEST_HEAD, b"Cookie: " + BIG), Fault.HEAD_TOO_LONG),
        (thin(b"Cookie: " + BIG, b"A: " + b"x" * MAX_REQUEST_HEAD), Fault.HEAD_TOO_LONG),
        (b"GET /" + b"x" * (MAX_REQUEST_HEAD + 10), Fault.TARGET_TOO_LONG),
        (b"GET /?Cookie:" + b"x" * MAX_REQUEST_HEAD + b"\r\n\r\n", Fault.TARGET_TOO_LONG),
        (thin(b"Cookie: " + b"a=b; " * 250_000), Fault.HEAD_TOO_LONG),
        (thin(b"Cookie: " + b"x" * 1_100_000), Fault.HEAD_TOO_LONG),
        (thin(*[b"Cookie: a=" + b"b" * 200] * 101), Fault.HEAD_TOO_LONG),
        (thin(b"Cookie: " + BIG + b"\n"), Fault.MALFORMED_HEAD),
        (thin(b"Cookie: " + BIG + b"\r"), Fault.MALFORMED_HEAD),
        (thin(b"Cookie: \x00" + BIG), Fault.MALFORMED_HEAD),
        (thin(b"Cookie: " + BIG + b"\n\nGET /"), Fault.MALFORMED_HEAD),
    ],
    ids=lambda value: repr(value[:45]) if isinstance(value, bytes) else None,
)
def test_all_others_that_are_too_long_are_refused(head: bytes, fault: Fault) -> None:
    for step in (len(head), 1000, 97):
        assert taken([head[at : at + step] for at in range(0, len(head), step)]) == [fault], step


@pytest.mark.parametrize(
    "each",
    [
        b"tmppool-%010d=" + b"x" * 32,
        b"__Secure-tmppool-%010d=" + b"x" * 32,
        b"__Host-Http-tmppool_%05d_ticket-0123456789=" + b"x" * 112,
    ],
)
def test_as_many_that_look_like_ours_as_two_jars_hold_are_kept_beside_a_long_head(each: bytes) -> None:
    """A page can set 180 for its host, and as many again that are partitioned."""
    lines = [b"A: " + b"x" * 15_000, b"Cookie: " + b"; ".join(each % number for number in range(360))]
    (head,) = taken([thin(*lines)])
    assert head == thin(*lines)
    assert parse_request(head).fields.first[b"cookie"].count(b"tmppool") == 360


def test_more_that_look_like_ours_than_any_jar_holds_are_dropped_and_not_refused() -> None:
    (head,) = taken([thin(b"Cookie: tmppool=a; " + b"tmppool=b; " * 20_000, b"A: b")])
    assert head.startswith(thin(b"Cookie: tmppool=a; tmppool=b")[:-4])
    assert b"\r\nA: b\r\n" in head
    assert len(head) < MAX_OWN_COOKIES + 1000
    parse_request(head)


LINES = st.sampled_from([
    b"A: " + b"x" * 5000, b"Cookie: " + b"a=" + b"b" * 9000, b"Cookie: tmppool=1", b"cookie:tmppool-a=2; c=" + b"d" * 8000 + b";tmppool=3",
    b"Cookie: " + b"e=f; " * 2000, b"Cookie:", b"B: Cookie: tmppool=4", b"Cookie: " + b";" * 300 + b" tmppool=5 ",
])  # fmt: skip


@given(st.lists(st.lists(LINES, max_size=6), max_size=3), st.lists(st.integers(min_value=0), max_size=12))
@example([[b"Cookie: a=" + b"b" * 17_000 + b";tmppool=1"]], list(range(17_030, 17_060)))
def test_however_heads_are_cut_they_are_the_same(messages: list[list[bytes]], places: list[int]) -> None:
    whole = b"\r\n".join(thin(*lines) for lines in messages)
    assert taken(cut(whole, places)) == taken([whole])


@given(st.lists(LINES, max_size=8))
def test_what_is_kept_holds_all_of_ours_and_every_other_field(lines: list[bytes]) -> None:
    found = taken([thin(*lines)])
    if found == [Fault.HEAD_TOO_LONG]:
        assert sum(len(line) for line in lines if not line.lower().startswith(b"cookie:")) > 11_000
        return
    assert len(found[0]) <= MAX_REQUEST_HEAD + MAX_OWN_COOKIES
    for mark in (b"A: ", b"B: ", b"tmppool=1", b"tmppool-a=2", b"tmppool=3", b"tmppool=5"):
        assert found[0].count(mark) == sum(line.count(mark) for line in lines)


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.mark.parametrize(
    "filling", [b"a;", b";", b"; ", b" ", b"tmppool;", b"tmppool=;", b"\t", b"Cookie:\r\n", b"a:\r\n"]
)
def test_twice_the_bytes_cost_twice_the_work_at_most(filling: bytes) -> None:
    """Of which a megabyte takes some 0.05 s in large pieces."""
    for step in (100_000, 100):

        def cost(size: int, step: int = step) -> float:
            data = START + b"Cookie: " + filling * (size // len(filling))
            return min(
                seconds(lambda: taken([data[at : at + step] for at in range(0, len(data), step)])) for _ in range(3)
            )

        assert cost(800_000) < 8 * cost(200_000) + 0.05


# Answers


ANSWER = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"


@given(st.integers(0, 8), st.binary(max_size=20), st.lists(st.integers(min_value=0), max_size=8))
def test_an_answer_is_found_behind_its_interim_ones_wherever_it_is_cut(
    interim: int, behind: bytes, places: list[int]
) -> None:
    whole = INTERIM * interim + ANSWER + behind
    reader, rest = ResponseHeadReader(), None
    for piece in cut(whole, places):
        if rest is not None:
            rest += piece
            continue
        answer, found = reader.feed(piece)
        if answer is not None:
            assert (answer.status, answer.fields.lines) == (200, [(b"a", b"A: b")])
            assert not reader.has_begun
            rest = found
    assert rest == behind


@pytest.mark.parametrize("step", [1, 1000, 10**6])
@pytest.mark.parametrize("answer", [INTERIM * 9 + ANSWER, b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000, b"A" * 70_000])
def test_an_answer_that_does_not_begin_is_refused(answer: bytes, step: int) -> None:
    reader = ResponseHeadReader()
    with pytest.raises(BadMessageError):
        all(reader.feed(answer[at : at + step]) for at in range(0, len(answer), step))


def test_a_switch_of_protocols_is_an_answer() -> None:
    answer, rest = ResponseHeadReader().feed(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x00")
    assert answer is not None
    assert (answer.status, rest) == (101, b"\x81\x00")


def test_a_head_that_comes_byte_by_byte_costs_what_its_bytes_cost() -> None:
    data = b"HTTP/1.1 200 OK\r\nA: " + b"b" * 64_000
    reader = ResponseHeadReader()
    assert seconds(lambda: [reader.feed(data[at : at + 1]) for at in range(len(data))]) < 1
