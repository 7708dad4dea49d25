"""The two halves of a WebSocket's handshake."""

import base64

import pytest

from tmppool.proxy import handshake
from tmppool.proxy.faults import Fault
from tmppool.proxy.wire import BadMessageError, parse_request, parse_response

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ASK = {
    "Host": "h",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}
ANSWER = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Accept": ACCEPT}


def lines(fields: dict[str, str | None]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None).encode() + b"\r\n"


def request(start: str = "GET / HTTP/1.1", **changes: str | None):
    fields = ASK | {name.replace("_", "-"): value for name, value in changes.items()}
    return parse_request(start.encode() + b"\r\n" + lines(fields))


def response(**changes: str | None):
    fields = ANSWER | {name.replace("_", "-"): value for name, value in changes.items()}
    return parse_response(b"HTTP/1.1 101 Switching Protocols\r\n" + lines(fields))


@pytest.mark.parametrize(
    ("connection", "upgrade", "is_one"),
    [
        ("Upgrade", "websocket", True), ("keep-alive, UPGRADE", "WebSocket", True), ("upgrade", "websocket ", True), (None, "websocket", False),
        ("Upgrade", None, False), ("close", "websocket", False), ("Upgrade", "h2c", False), ("Upgrade", "websocket, h2c", False),
        ("Upgrade", "websocket/13", False), ("upgraded", "websocket", False),
    ],
)  # fmt: skip
def test_what_asks_for_a_websocket(connection: str | None, upgrade: str | None, is_one: bool) -> None:  # noqa: FBT001
    assert handshake.is_handshake(request(Connection=connection, Upgrade=upgrade).fields) is is_one


def test_a_right_handshake_is_taken() -> None:
    handshake.check(request())
    handshake.check(request("GET /x?y HTTP/1.1", Content_Length="0", Sec_WebSocket_Protocol="a, b"))


def encoded(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


WRONG = {
    "another method": request("POST / HTTP/1.1"),
    "HTTP/1.0": request("GET / HTTP/1.0"),
    "a body": request(Content_Length="1"),
    "a chunked body": request(Transfer_Encoding="chunked"),
    "no version": request(Sec_WebSocket_Version=None),
    "version 8": request(Sec_WebSocket_Version="8"),
    "two versions": request(Sec_WebSocket_Version="13, 8"),
    "no key": request(Sec_WebSocket_Key=None),
    "an empty key": request(Sec_WebSocket_Key=""),
    "a short key": request(Sec_WebSocket_Key=encoded(15)),
    "a long key": request(Sec_WebSocket_Key=encoded(17)),
    "no base64": request(Sec_WebSocket_Key="!" * 22 + "=="),
    "no padding": request(Sec_WebSocket_Key=encoded(16).rstrip("=")),
    "bytes that are no text": parse_request(
        b"GET / HTTP/1.1\r\n"
        + lines(ASK | {"Sec-WebSocket-Key": None}).replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Key: \xff\xfe\r\n\r\n")
    ),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_handshake_is_refused(wrong) -> None:
    with pytest.raises(BadMessageError) as error:
        handshake.check(wrong)
    assert error.value.fault is Fault.MALFORMED_HEAD


def test_the_digest_of_the_standards_example_is_accepted() -> None:
    assert handshake.is_accepted(request(), response())


@pytest.mark.parametrize(
    "changes",
    [
        {"Sec_WebSocket_Accept": None}, {"Sec_WebSocket_Accept": ""}, {"Sec_WebSocket_Accept": ACCEPT.lower()}, {"Sec_WebSocket_Accept": KEY},
        {"Upgrade": None}, {"Upgrade": "h2c"}, {"Connection": None}, {"Connection": "close"}, {"Sec_WebSocket_Protocol": "evil"},
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_that_does_not_fit_is_not_accepted(changes: dict[str, str | None]) -> None:
    assert not handshake.is_accepted(request(), response(**changes))


@pytest.mark.parametrize(
    ("offered", "chosen", "fits"),
    [
        ("a, b", "b", True),
        ("a", None, True),
        (None, None, True),
        ("V1.Kernel", "v1.kernel", True),
        ("a, b", "c", False),
        ("a", "a, b", False),
        ("ab", "a", False),
    ],
)
def test_the_chosen_protocol_is_one_that_was_offered(offered: str | None, chosen: str | None, fits: bool) -> None:  # noqa: FBT001
    assert (
        handshake.is_accepted(request(Sec_WebSocket_Protocol=offered), response(Sec_WebSocket_Protocol=chosen)) is fits
    )


def test_the_visitor_is_told_to_switch() -> None:
    found = parse_response(handshake.switching([b"Sec-WebSocket-Accept: x", b"A: b"]))
    assert (found.status, found.reason) == (101, b"Switching Protocols")
    assert handshake.is_handshake(found.fields)
    assert [name for name, _ in found.fields.lines] == [b"connection", b"upgrade", b"sec-websocket-accept", b"a"]


@pytest.mark.parametrize(
    ("offered", "chosen", "fits"),
    [
        ("permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover", True),
        ("a, Permessage-Deflate", "permessage-deflate", True),
        ("a;x=1, b", "b, a", True),
        ("a", None, True),
        (None, "permessage-deflate", False),
        ("a", "a, b", False),
        ("a;b", "b", False),
        ("a", "", False),
    ],
)
def test_the_chosen_extensions_are_some_that_were_offered(offered: str | None, chosen: str | None, fits: bool) -> None:  # noqa: FBT001
    asked, answered = request(Sec_WebSocket_Extensions=offered), response(Sec_WebSocket_Extensions=chosen)
    assert handshake.is_accepted(asked, answered) is fits


def test_two_chosen_protocols_are_one_too_many() -> None:
    answer = b"Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n" + lines(ANSWER)
    answered = parse_response(b"HTTP/1.1 101 Switching Protocols\r\n" + answer)
    assert not handshake.is_accepted(request(Sec_WebSocket_Protocol="a, b"), answered)
