"""What reads a value that others have written takes time linear in its length, whatever is repeated in it.

A reader that goes back takes four times as long for twice the bytes: the longest field that is let in then holds
everybody up for seconds. Measured are repeats of all short strings of characters that mean something somewhere.
"""

import contextlib
import itertools
import json
import re
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from multidict import CIMultiDict

from tmppool import image_documents
from tmppool.check_links.text import Finder, Link
from tmppool.jupyter_urls import deep_link, document_of, file_of, is_own, is_page
from tmppool.proxy import cookies, forwarded, handshake, headers, page_policy, target, wire
from tmppool.proxy.page import Page, takes_notice
from tmppool.web import (
    authorization,
    embed_page,
    hosts,
    links,
    own_cookies,
    pasted,
    peer_links,
    robots,
    tokens,
    visit,
)
from tmppool.web.peer_links import PeerLink, PeerLinkError, Repository

CHARACTERS = b'"\\,;=& \t()<>-?%/`a'
SIZE = 2048  # bytes
TIMES = 4  # as long as the shorter of the two values that are compared
MOST = 2.5 * TIMES  # times as long; what goes back takes TIMES * TIMES
NOISE = 10e-6  # seconds that any call may take; 64 KiB cost a thousand times what is lost in it
HEAD = b"HTTP/1.1 200 OK\r\n%b: %b\r\n\r\n"


@dataclass(frozen=True)
class Reader:
    """``read`` gets an opening, then what is repeated, then an ending; repeated are ``characters``.

    Together they are of ``most`` bytes, where it reads no more.
    """

    read: Callable[[bytes], object]
    openings: tuple[bytes, ...] = (b"", b'"', b"a=")
    most: int = SIZE
    characters: bytes = CHARACTERS
    ending: bytes = b""


def response(name: bytes, value: bytes) -> wire.Response:
    return wire.parse_response(HEAD % (name, value))


def fields(name: bytes, value: bytes) -> wire.Fields:
    return response(name, value).fields


def text(name: str, value: bytes) -> CIMultiDict[str]:
    return CIMultiDict({"Host": "nb.example", name: value.decode("latin-1")})


TRUSTED = forwarded.networks(["127.0.0.1"])
PAGE = fields(b"Content-Type", b"text/html")
JAR = cookies.Jar()
JAR.note(b"a=a")


def in_page(content: bytes, pieces: int) -> Page:
    page = Page(b"<script></script>", PAGE)
    step = max(1, len(content) // pieces)
    for start in range(0, len(content), step):
        page.add(content[start : start + step], is_whole=start + step >= len(content))
        if page.is_decided:
            break
    return page


def admitted(policy: bytes) -> object:
    return page_policy.is_out_of_reach([policy]) or page_policy.admit([policy], b"nb.example", b"/api/session/k")


def in_cell(source: bytes) -> image_documents.Document:
    cell = {"cell_type": "markdown", "source": source.decode()}
    return image_documents.read("a.ipynb", json.dumps({"cells": [cell]}).encode())


def peer_link(raw: str) -> PeerLink | None:
    with contextlib.suppress(PeerLinkError):
        return peer_links.parse(raw)
    return None


def paste(text: str) -> pasted.Pasted | None:
    with contextlib.suppress(pasted.PastedError):
        return pasted.read(text, own_host="nb.example")
    return None


FINDER = Finder(["https://nb.example"])


def found_in(page: bytes) -> list[Link]:
    return [*FINDER.links("page", page.decode("latin-1"), is_markup=True)]


IN_LINK = b"\\&;/.() \x0b\x01a"
BY_LINK = b"{}:,=<( \na"
BEFORE = (b"", b"<iframe ", b"{{<iframe", b"binder:", b"binder: a: a, ", b"Juniper({", b"fetch(")
PASTED = (
    b"",
    b"/",
    b"/user/",
    b"a.md#",
    b"github.com/a/a/blob/",
    b"gitlab.com/a/",
    b"https://nb.example/",
    b"https://a/",
)
MARKDOWN = b"\n\r\t\x0b #-.:'[]()<!*"
MARKUP = (b"", b"<!--", b"<!doctype", b"<?", b"<html ", b'<html a="', b"<html a=", b"<head a='")
READERS = {
    "a request's target": Reader(lambda value: request(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % value), (b"",)),
    "a request's field": Reader(lambda value: request(b"GET / HTTP/1.1\r\nHost: a\r\nA: %b\r\n\r\n" % value), (b"",)),
    "a target that is corrected": Reader(lambda value: target.correct(b"/" + value), (b"", b"a?")),
    "a host": Reader(target.is_host),
    "Connection": Reader(lambda value: headers.to_visitor(fields(b"Connection", value), "/user/k/", JAR)),
    "Connection, at a notebook": Reader(lambda value: headers.to_notebook(fields(b"Connection", value), b"", JAR)),
    "Via": Reader(lambda value: headers.refuse_loop(fields(b"Via", value))),
    "Cookie": Reader(lambda value: headers.to_notebook(fields(b"Cookie", value), b"", JAR, b"_xsrf=a", is_judged=True)),
    "Cookie, ours": Reader(cookies.own, (b"", b"tmppool=", b"a; tmppool-a=", b"tmppool_1_code=")),
    "Cookie, a visitor's": Reader(lambda value: own_cookies.visitor_in([value.decode()], own_cookies.Scope(is_secure=True))),
    "Cookie, of notebooks": Reader(lambda value: own_cookies.notebook_ids([value]), (b"", b"tmppool-")),
    "Set-Cookie": Reader(lambda value: headers.to_visitor(fields(b"Set-Cookie", value), "/user/k/", JAR), (b"a=", b"a=a;Path=", b"a;")),
    "WWW-Authenticate": Reader(lambda value: headers.to_visitor(fields(b"WWW-Authenticate", value), "/user/k/", JAR, is_app=True), (b"", b'Basic "', b"Basic a=")),
    "Authorization": Reader(lambda value: (authorization.bearer_token(value), authorization.secrets_in(value)), (b"Basic ", b"token ")),
    "Cache-Control": Reader(lambda value: headers.cache_line(fields(b"Cache-Control", value)), (b"", b'a="'), 1000),
    "Location": Reader(lambda value: headers.to_visitor(fields(b"Location", value), "/user/k/", JAR), (b"", b"http://", b"http://a/user/k/")),
    "Content-Type": Reader(lambda value: takes_notice(response(b"Content-Type", value)), (b"text/html;", b"")),
    "Content-Encoding": Reader(lambda value: takes_notice(response(b"Content-Type", b"text/html\r\nContent-Encoding: " + value))),
    "Content-Security-Policy": Reader(admitted, (b"", b"script-src ", b"script-src 'nonce-", b"sandbox ")),
    "Sec-WebSocket-Protocol": Reader(lambda value: handshake._names(fields(b"Sec-WebSocket-Protocol", value), b"sec-websocket-protocol")),
    "Forwarded": Reader(lambda value: forwarded.identify("127.0.0.1", text("Forwarded", value), TRUSTED), (b"", b'for="', b"for=127.0.0.1,"), 2000),
    "X-Forwarded-For": Reader(lambda value: forwarded.identify("127.0.0.1", text("X-Forwarded-For", value), TRUSTED), (b"", b"127.0.0.1,")),
    "X-Forwarded-Host": Reader(lambda value: forwarded.identify("127.0.0.1", text("X-Forwarded-Host", value), TRUSTED)),
    "X-Forwarded-Host, where each notebook has a host": Reader(lambda value: visit._notebooks_host(fields(b"X-Forwarded-Host", value), "nb.example")),
    "Origin": Reader(lambda value: (hosts.is_origin(value.decode()), hosts.is_same_origin(value.decode(), "http", "nb.example")), (b"", b"http://", b"http://a:")),
    "User-Agent": Reader(lambda value: robots.is_crawler(text("User-Agent", value)), (b"", b"Mozilla/5.0 ("), 500),
    "Sec-Purpose": Reader(lambda value: robots.is_prefetch(text("Sec-Purpose", value))),
    "tokens in a query": Reader(lambda value: (tokens.tokens_in("?" + value.decode()), tokens.without_token("/?" + value.decode(), lambda _: False)), (b"token=", b"a&token=%")),
    "a launch link": Reader(lambda value: [read(value.decode()) for read in (lambda raw: links.target_of(raw, "/lab"), links.pool_of, links.path_of, links.claimed_path, links.code_of, links.without_code, links.action_of)], (b"/spawn?", b"/?pool=", b"/?path=")),
    "a path of Jupyter's": Reader(lambda value: [read(value.decode()) for read in (is_page, is_own, document_of, file_of, deep_link)], (b"", b"lab/tree/", b"api/contents/")),
    "a text in the image": Reader(lambda value: image_documents.read("a.md", value), (b"", b"# a", b"---\n", b"---\ntitle:"), characters=MARKDOWN, ending=b"x"),
    "a notebook in the image": Reader(in_cell, (b"", b"# a"), characters=MARKDOWN, ending=b"x"),
    "a link of another service": Reader(lambda value: peer_link("/" + value.decode()), (b"v2/gh/a/b?urlpath=", b"v2/git/", b"hub/user-redirect/git-pull?repo=a/a&urlpath=/a", b"repo/")),
    "a directory that a link names": Reader(lambda value: peer_links._without(value[:-2].decode() + "!", value.decode()), (b"", b"/")),
    "what a page author pastes": Reader(lambda value: paste(value.decode()), PASTED, pasted.MOST - 1),
    "a repository as the author wrote it": Reader(lambda value: embed_page._as_written(Repository(f"gh/{value[:-2].decode().lower()}!"), value.decode()), (b"",)),
    "a quoted link in a site": Reader(found_in, (b'href="http://nb.example/',), 4000, IN_LINK, b'x" '),
    "a bare link in a site": Reader(found_in, (b"http://nb.example/",), 4000, IN_LINK, b"x "),
    "what stands before a link in a site": Reader(found_in, BEFORE, 480, BY_LINK, b"http://nb.example/ " * 20),
    "a page": Reader(lambda value: in_page(value, 1), MARKUP),
    "a page in few pieces": Reader(lambda value: in_page(value, 12), MARKUP),
}  # fmt: skip


def request(head: bytes) -> wire.Request | None:
    try:
        return wire.parse_request(head)
    except wire.BadMessageError:
        return None


def units(characters: bytes) -> Iterator[bytes]:
    """Return every string of up to three of the characters that is not another's repeat, or another's begun later."""
    for size in (1, 2, 3):
        for letters in itertools.product(characters, repeat=size):
            turns = [letters[at:] + letters[:at] for at in range(size)]
            if letters == min(turns) and len(set(turns)) == size:
                yield bytes(letters)


def seconds(reader: Reader, opening: bytes, unit: bytes, size: int) -> float:
    value = opening + unit * (size // len(unit)) + reader.ending
    began = time.thread_time()
    reader.read(value)
    return time.thread_time() - began


def growth(reader: Reader, opening: bytes, unit: bytes, size: int, rounds: int) -> float:
    """Return how many times as long the longer of two values takes."""
    long = statistics.median(seconds(reader, opening, unit, size) for _ in range(rounds))
    if long < MOST * NOISE:
        return 0
    return long / statistics.median(seconds(reader, opening, unit, size // TIMES) for _ in range(rounds))


def worst(reader: Reader) -> dict[bytes, float]:
    """Return what takes too much longer when it is longer. What seems to is measured again: the machine has pauses."""
    found = {}
    for opening, unit in itertools.product(reader.openings, units(reader.characters)):
        if growth(reader, opening, unit, reader.most, 1) > MOST:
            again = growth(reader, opening, unit, reader.most, 7)
            if again > MOST:
                found[opening + unit] = again
    return found


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_what_is_longer_takes_no_longer_for_each_byte(reader: Reader) -> None:
    assert worst(reader) == {}


def test_a_reader_that_goes_back_is_found() -> None:
    quoted = re.compile(rb'"(?:[^"\\]|\\.)*"')
    assert b'"\\' in worst(Reader(quoted.findall, (b"",)))
