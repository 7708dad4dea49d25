"""Where the service's own scripts go in a page of whatever make."""

import gzip
import random
import zlib

import pytest

from tmppool.proxy import page as page_module
from tmppool.proxy.page import Page, is_html, takes_notice
from tmppool.proxy.wire import Fields, Response, parse_response

NOTICE = b'<script src="x" async=""></script>'


def fields(*lines: str, content_type: str = "text/html") -> Fields:
    return response(*lines, content_type=content_type).fields


def response(*lines: str, content_type: str = "text/html", status: int = 200) -> Response:
    head = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", *lines, "", ""]
    return parse_response("\r\n".join(head).encode())


def edited(content: bytes, size: int = 0, **about: str) -> bytes:
    """Return the page as a browser gets it, given in pieces of ``size`` bytes."""
    size = size or max(1, len(content))
    page, sent = Page(NOTICE, fields(**about)), b""
    for start in range(0, max(1, len(content)), size):
        piece = content[start : start + size]
        if page.is_decided:
            sent += piece
            continue
        page.add(piece, is_whole=start + size >= len(content))
        assert page.is_decided or start + size < len(content)
        sent += page.content if page.is_decided else b""
    assert page.has_notice is (NOTICE.partition(b" ")[0] in sent and sent != content)
    return sent


PAGES = {
    "usual": b"<!DOCTYPE html>\n<html lang='en'>\n<head>|<meta charset=utf-8></head><body>x</body></html>",
    "no head": b"<!doctype html><html>|<body>x",
    "nothing but text": b"|hello",
    "nothing but a doctype": b"<!doctype html>|",
    "no html": b"<!doctype html><head>|<title>x</title>",
    "a header is no head": b"<!doctype html>|<header>x</header>",
    "an html5 is no html": b"|<html5>x",
    "comments": b"<!-- > <head> --><!DOCTYPE html><!--x--!><html><!--y--><head>|<!--z-->",
    "short comments": b"<!--><!---><html><head>|",
    "for an old browser": b"<!--[if IE]><html class=ie><head><![endif]--><html><head>|x",
    "a long doctype": b'<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://x/y.dtd"><html><head>|',
    "XML's beginning": b'<?xml version="1.0"?><!doctype html><html><head>|',
    "quotes": b"""<html data-a="<head>" data-b='>' data-c=d><head prefix="og: x>y">|""",
    "a quote in a value without quotes": b"<html lang=en data-t=it's><head>|<title>It's > that</title>",
    "a value that is not closed": b"|<html data-a='><head>",
    "capitals": b"<!DOCTYPE HTML><HTML><HEAD>|<TITLE>",
    "a mark of the order of bytes": b"\xef\xbb\xbf<!doctype html><html><head>|x",
    "another charset": "<html><head>|<title>näher</title>".encode("latin-1"),
    "a slash": b"<html/><head/>|x",
    "a closed head": b"<html>|</head><body>",
    "frames": b"<html>|<frameset><frame src=a></frameset>",
    "a comment without end": b"<html>|<!-- " + b"x" * 100,
    "a quote without end": b"<!doctype html>|<html lang='en><head>" + b"x" * 100,
}


@pytest.mark.parametrize("size", [0, 1, 2, 7])
@pytest.mark.parametrize("marked", PAGES.values(), ids=PAGES.keys())
def test_where_the_notice_goes(marked: bytes, size: int) -> None:
    before, _, after = marked.partition(b"|")
    assert edited(before + after, size) == before + NOTICE + after


WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]


@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize("encoding", WIDE)
def test_a_page_of_wide_characters_is_left_as_it_is(encoding: str, size: int) -> None:
    content = "<!doctype html><html><head></head>".encode(encoding)
    assert edited(content, size) == content


@pytest.mark.parametrize("content", [b"", b"x", b"<", b"<!", b"\xef\xbb", b"<html"])
def test_the_shortest_pages(content: bytes) -> None:
    assert edited(content, 1) == (NOTICE + content if content else b"")


UNTYPED = {
    "a page": (b"<!doctype HTML><html><head>|<title>x</title>", True),
    "behind blanks": (b" \n<html><head>|", True),
    "an element": (b"<!doctype html >|<h1 >x</h1>", True),
    "a heading": (b"|<h1>x</h1>", True),
    "a comment": (b"<!-- x --><head>|", True),
    "text": (b"words and <h1>words</h1>", False),
    "text in brackets": (b"<someone@example.org> wrote: <h1>" + b"x" * 100, False),
    "a picture": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', False),
    "XML": (b'<?xml version="1.0"?><html><head>', False),
    "another element": (b"<h12><head>", False),
}
"""What has no type: what browsers take for HTML by its beginning (MIME Sniffing, section 7.1), and what they do not."""


@pytest.mark.parametrize("kind", ["", "*/*", "unknown/unknown; charset=utf-8"])
@pytest.mark.parametrize("size", [0, 20])
@pytest.mark.parametrize(("marked", "is_page"), UNTYPED.values(), ids=UNTYPED.keys())
def test_of_what_has_no_type_only_what_browsers_take_for_html_is_edited(
    marked: bytes,
    is_page: bool,  # noqa: FBT001
    size: int,
    kind: str,
) -> None:
    content = marked.replace(b"|", b"")
    wanted = marked.replace(b"|", NOTICE) if is_page else content
    assert edited(content, size, content_type=kind) == wanted


def test_little_of_what_has_no_type_is_held_back() -> None:
    page = Page(NOTICE, fields(content_type=""))
    page.add(b"", is_whole=False)
    assert not page.is_decided
    page.add(b"l", is_whole=False)
    assert page.is_decided
    page = Page(NOTICE, fields(content_type=""))
    page.add(b"<" + b"x" * 62, is_whole=False)
    assert not page.is_decided
    page.add(b"x", is_whole=False)
    assert page.is_decided
    assert not page.has_notice


def test_xml_gets_the_notice_only_in_a_head_that_is_there() -> None:
    about = {"content_type": "application/xhtml+xml; charset=utf-8"}
    head = b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head>'
    assert edited(head + b"<title/>", **about) == head + NOTICE + b"<title/>"
    for content in (
        b"<h:html xmlns:h='x'><h:head/></h:html>",
        b"<html><body/></html>",
        b"<!DOCTYPE html [<!ENTITY a 'b'>]>x",
    ):
        assert edited(content, **about) == content


def test_no_more_than_a_page_s_beginning_is_held_back() -> None:
    page = Page(NOTICE, fields())
    page.add(b"<html><!--", is_whole=False)
    for _ in range(16):
        assert not page.is_decided
        page.add(b"x" * 1024, is_whole=False)
    assert page.is_decided
    assert page.content.startswith(b"<html>" + NOTICE + b"<!--")


def test_a_beginning_that_comes_byte_by_byte_is_not_read_again_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    find = page_module._find
    monkeypatch.setattr(page_module, "_find", lambda data, at, parts: looks.append(at) or find(data, at, parts))
    edited(b"<html><!--" + b"x" * 5000 + b"--><head>", 1)
    assert len(looks) < 40


@pytest.mark.parametrize("seed", range(20))
def test_any_bytes_are_left_whole(seed: int) -> None:
    pieces = [
        b"<",
        b">",
        b"html",
        b"head",
        b"<!--",
        b"-->",
        b"'",
        b'"',
        b" ",
        b"<!doctype",
        b"<?",
        b"x",
        b"/",
        b"\0",
        b"=",
    ]
    chance = random.Random(seed)
    content = b"".join(chance.choices(pieces, k=200))
    assert edited(content, chance.choice([1, 5, 1000])).replace(NOTICE, b"", 1) == content


def test_a_packed_page_is_unpacked_and_shrinks_or_grows() -> None:
    content = b"<html><head>" + b"x" * 5000
    page = Page(NOTICE, fields("Content-Encoding: gzip"))
    packed = gzip.compress(content)
    page.add(packed[:5], is_whole=False)
    assert not page.is_decided
    page.add(packed[5:], is_whole=True)
    assert page.content == content[:12] + NOTICE + content[12:]
    assert page.growth == len(page.content) - len(packed)


def test_a_packed_page_that_is_streamed_is_not_held_back() -> None:
    packer = zlib.compressobj(wbits=31)
    page = Page(NOTICE, fields("Content-Encoding: gzip"))
    piece = packer.compress(b"<html><head><title>x</title>") + packer.flush(zlib.Z_SYNC_FLUSH)
    page.add(piece[:12], is_whole=False)
    assert not page.is_decided
    page.add(piece[12:], is_whole=False)
    assert (page.is_decided, page.has_notice, page.content) == (True, False, piece)
    whole = piece + packer.flush()
    page = Page(NOTICE, fields("Content-Encoding: gzip"))
    page.add(whole, is_whole=True)
    assert page.has_notice


def packed_page(packed: bytes, **about: str) -> Page:
    page = Page(NOTICE, fields("Content-Encoding: gzip", **about))
    page.add(packed, is_whole=True)
    return page


def test_gzip_of_several_members_is_one_page() -> None:
    page = packed_page(gzip.compress(b"<html><he") + gzip.compress(b"ad>") + gzip.compress(b"<title>"))
    assert page.content == b"<html><head>" + NOTICE + b"<title>"


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b"<html><head>") + gzip.compress(b"<title>")[:-9],
        gzip.compress(b"<html><head>") * 1000,
        gzip.compress(b"<html><head>" + bytes(300_000)) * 2,
        gzip.compress(b"<html><head>" + bytes(512 * 1024 - 12)) * 2,
    ],
    ids=["broken off", "many", "too long", "exactly too long"],
)
def test_members_that_are_too_many_or_not_whole_pass_as_they_are(packed: bytes) -> None:
    page = packed_page(packed)
    assert (page.content, page.has_notice) == (packed, False)


def test_a_packed_page_without_a_type_is_edited_if_it_is_html() -> None:
    assert packed_page(gzip.compress(b"<html><head>"), content_type="").has_notice
    assert not packed_page(gzip.compress(b"words"), content_type="").has_notice


@pytest.mark.parametrize(
    ("made", "takes"),
    [
        (response(), True),
        (response(content_type="text/html; charset=utf-8"), True),
        (response(content_type="TEXT/HTML;charset=utf-8"), True),
        (response(content_type="application/xhtml+xml"), True),
        (response(status=404), True),
        (response(status=500), True),
        (response("Content-Encoding: identity"), True),
        (response("Content-Encoding: gzip"), True),
        (response("Content-Encoding: DEFLATE"), True),
        (response("Content-Disposition: inline"), True),
        (response("Content-Encoding: br"), False),
        (response("Content-Encoding: zstd"), False),
        (response("Content-Encoding: gzip", "Content-Encoding: br"), False),
        (response('Content-Disposition: Attachment; filename="a"'), False),
        (response(content_type="text/html, text/html"), True),
        (response(content_type="text/plain, text/html;charset=utf-8"), True),
        (response(content_type="text/html, */*"), True),
        (response(content_type='text/html; x="a, b/c"'), True),
        (response(content_type="text/html, text/plain"), False),
        (response("Content-Type: text/html", content_type="text/plain"), True),
        (response("Content-Type: text/plain"), False),
        (response(content_type="text/plain"), False),
        (response(content_type=""), False),
        (response(content_type="text/htmlx"), False),
        (response(content_type="image/svg+xml"), False),
        *((response(status=status), False) for status in (204, 205, 206, 301, 304, 307)),
    ],
)
def test_which_responses_are_pages_to_edit(made: Response, takes: bool) -> None:  # noqa: FBT001
    assert takes_notice(made) is takes


@pytest.mark.parametrize("kind", ["", "*/*", "Unknown/Unknown", "application/unknown"])
def test_what_has_no_type_may_be_a_page_where_browsers_look_at_the_content(kind: str) -> None:
    assert takes_notice(response(content_type=kind), is_sniffed=True)
    assert not takes_notice(response(content_type=kind))
    assert not takes_notice(response(content_type="text/plain"), is_sniffed=True)
    assert not takes_notice(response(content_type="application/octet-stream"), is_sniffed=True)


def test_a_page_is_told_by_its_type_whatever_becomes_of_it() -> None:
    assert is_html(fields("Content-Encoding: br"))
    assert not is_html(fields(content_type="text/plain; text/html"))


@pytest.mark.parametrize("part", [b"<?>", b"<!---->", b"<html>", b"<html a>"])
def test_a_short_page_that_unpacks_to_many_parts_is_looked_at_in_its_beginning_only(part: bytes) -> None:
    packed = gzip.compress(part * (500_000 // len(part)))
    page = Page(NOTICE, fields("Content-Encoding: gzip"))
    page.add(packed, is_whole=True)
    assert page.content.index(NOTICE) == 256 * len(part)


@pytest.mark.parametrize("size", [0, 1, 3, 1000])
@pytest.mark.parametrize(("parts", "place"), [(255, 255), (256, 256), (300, 256)])
def test_so_many_parts_are_read_before_a_head_however_it_is_cut(parts: int, place: int, size: int) -> None:
    assert edited(b"<?>" * parts + b"x", size) == b"<?>" * place + NOTICE + b"<?>" * (parts - place) + b"x"


def test_a_page_that_is_long_when_it_is_packed_or_unpacked_is_left_as_it_is() -> None:
    for content in (random.Random(1).randbytes(40_000), b"<html><head>" + b"x" * 600_000):
        packed = gzip.compress(content)
        page = Page(NOTICE, fields("Content-Encoding: gzip"))
        page.add(packed, is_whole=True)
        assert page.content == packed
        assert not page.has_notice


def test_a_part_that_stays_open_is_read_again_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    find = page_module._find

    def counting(data: bytes, position: int, parts: int) -> tuple[int, int, bool, bool]:
        nonlocal looks
        looks += 1
        return find(data, position, parts)

    monkeypatch.setattr(page_module, "_find", counting)
    page = Page(NOTICE, fields())
    page.add(b"<!-- ", is_whole=False)
    for _ in range(8000):
        page.add(b"x>", is_whole=False)
    page.add(b"--><head>", is_whole=True)
    assert page.content.endswith(b"--><head>" + NOTICE)
    assert looks < 100
