"""What the decision records in docs/decisions say of the code, and of the libraries that were not taken, is so."""

import asyncio
import re
from pathlib import Path

import h11
import httptools
import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser

from tmppool.proxy.head_readers import RequestHeadReader
from tmppool.proxy.wire import BadMessageError, parse_request

ROOT = Path(__file__).parents[1]
RECORDS = sorted((ROOT / "docs/decisions").glob("*.md"))
OWN_HTTP = (ROOT / "docs/decisions/0001-our-own-http.md").read_text()
SECTIONS = ["Context", "Decision", "Consequences", "What would change our mind"]

each_record = pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)


@each_record
def test_a_record_has_its_sections_in_order(record: Path) -> None:
    text = record.read_text()
    found = [title for title in re.findall(r"^## (.+)$", text, re.MULTILINE) if not title.startswith("Why")]
    assert found == SECTIONS
    assert re.match(rf"# {int(record.stem[:4])}\. ", text)


def test_records_are_numbered_without_a_gap() -> None:
    assert [int(path.stem[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))


@each_record
def test_every_path_that_a_record_names_exists(record: Path) -> None:
    named = re.findall(r"`((?:tmppool|tests|docs|images)/[\w./-]*)`", record.read_text())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


# Our own HTTP


def lines_of(*names: str) -> int:
    return sum(len((ROOT / "tmppool/proxy" / name).read_text().splitlines()) for name in names)


def test_the_size_that_has_to_be_maintained_is_about_what_the_record_says() -> None:
    said = [int(number.replace(",", "")) for number in re.findall(r"about ([\d,]+) (?:lines|for the whole)", OWN_HTTP)]
    readers = re.search(r"read HTTP \((.*?) in `tmppool/proxy`\)", OWN_HTTP)
    assert readers is not None
    real = [
        lines_of(*re.findall(r"`(\w+\.py)`", readers[1])),
        lines_of(*(path.name for path in (ROOT / "tmppool/proxy").glob("*.py"))),
    ]
    assert said == pytest.approx(real, rel=0.25)


def h11_accepts(head: bytes) -> bool:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    try:
        return isinstance(connection.next_event(), h11.Request)
    except h11.RemoteProtocolError:
        return False


def httptools_accepts(head: bytes) -> bool:
    try:
        httptools.HttpRequestParser(object()).feed_data(head)
    except httptools.HttpParserError:
        return False
    return True


async def aiohttp_accepts(head: bytes) -> bool:
    loop = asyncio.get_running_loop()
    try:
        messages, _, _ = HttpRequestParser(BaseProtocol(loop), loop, 2**16).feed_data(head)
    except HttpProcessingError:
        return False
    return bool(messages)


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST /x HTTP/1.1", *lines, "", ""]).encode()


HEADS = {
    "`Content-Length: 5` with `Transfer-Encoding: chunked`": head(
        "Host: a", "Content-Length: 5", "Transfer-Encoding: chunked"
    ),
    "`Content-Length: 5, 5`": head("Host: a", "Content-Length: 5, 5"),
    "a field folded over two lines": head("Host: a", "A: b", " c"),
    "a line that ends in LF alone": head("Host: a", "A: b\nC: d"),
    "`Transfer-Encoding: gzip, chunked`": head("Host: a", "Transfer-Encoding: gzip, chunked"),
    "an empty `Transfer-Encoding` with `Content-Length: 5`": head("Host: a", "Transfer-Encoding:", "Content-Length: 5"),
    "two `Host` fields": head("Host: a", "Host: b"),
    "`Host: a b`": head("Host: a b"),
    "two `Authorization` fields": head("Host: a", "Authorization: token a", "Authorization: token b"),
}


@pytest.mark.parametrize("name", HEADS)
async def test_the_libraries_read_a_head_as_the_table_says(name: str) -> None:
    """Where a release is stricter than the record says, one reason for our own reader is gone: change the record."""
    row = re.search(rf"^\| {re.escape(name)} \|(.*)\|$", OWN_HTTP, re.MULTILINE)
    assert row is not None
    said = [cell.strip().startswith("accepts") for cell in row[1].split("|")]
    assert said == [h11_accepts(HEADS[name]), httptools_accepts(HEADS[name]), await aiohttp_accepts(HEADS[name])]


@pytest.mark.parametrize("name", HEADS)
def test_our_reader_refuses_what_the_table_lists(name: str) -> None:
    whole, _ = RequestHeadReader().feed(HEADS[name])
    assert whole is not None
    with pytest.raises(BadMessageError):
        parse_request(whole)


def test_the_table_has_no_row_that_is_not_tried() -> None:
    table = OWN_HTTP.partition("| head | h11 ")[2].partition("\n\n")[0]
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == list(HEADS)
