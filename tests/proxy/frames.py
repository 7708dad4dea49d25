"""A WebSocket client that can send any bytes, and the published fuzzing cases of the Autobahn test suite as a table.

The cases are told anew from their published descriptions, groups 1 to 7 and 9, under their numbers there; the texts of
group 6 are those of Markus Kuhn's UTF-8 decoder stress test. Counts of group 9 are scaled down. Where the suite allows
several outcomes because a failure may overtake an echo, the echo is waited for: then there is one outcome.
"""

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

from tests.proxy.stage import CutError, Peer

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL, PROTOCOL_ERROR, BAD_TEXT, TOO_BIG = 1000, 1002, 1007, 1009
NO_CODE = 0  # a close frame without one
MASK = b"\x9c\x31\xe7\x05"
KILO, MEGA = 2**10, 2**20


# Frames


def masked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def head(opcode: int, size: int, *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK) -> bytes:
    """Return what stands before ``size`` bytes of payload (RFC 6455 section 5.2)."""
    first = bytes([(fin << 7) | (rsv << 4) | opcode])
    flag = 0x80 if mask is not None else 0
    if size < 126:
        length = bytes([flag | size])
    elif size < 1 << 16:
        length = bytes([flag | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([flag | 127]) + size.to_bytes(8, "big")
    return first + length + (mask or b"")


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK) -> bytes:
    body = payload if mask is None else masked(payload, mask)
    return head(opcode, len(payload), fin=fin, rsv=rsv, mask=mask) + body


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def chopped(data: bytes, size: int = 1) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def fragments(opcode: int, *parts: bytes) -> list[bytes]:
    """Return a message in as many frames as there are parts."""
    last = len(parts) - 1
    return [frame(CONTINUATION if at else opcode, part, fin=at == last) for at, part in enumerate(parts)]


# The client


@dataclass(frozen=True)
class Frame:
    """A frame as it came; a long payload by its digest."""

    opcode: int
    payload: bytes
    size: int
    fin: bool = True
    rsv: int = 0
    is_masked: bool = False


DROP = "the connection ended"
SILENCE = "nothing more came"


@dataclass
class Client:
    """Sends what it is told, and writes down all that comes: frames, then how it ended."""

    peer: Peer
    answer: bytes = b""
    seen: list[Frame | str] = field(default_factory=list)

    @classmethod
    async def open(cls, port: int, request: bytes) -> Self:
        """Connect and shake hands; raises CutError when the answer is no switch."""
        peer = await Peer.connect(port)
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a chop shall be a segment
        await peer.send(request)
        answer = await peer.until(b"\r\n\r\n")
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise CutError(answer, is_reset=False)
        return cls(peer, answer)

    async def receive(self) -> None:
        """Write down what comes until the end."""
        try:
            while True:
                self.seen.append(await self._frame())
                self._wake()
        except CutError:
            self.seen.append(DROP)
        except TimeoutError:
            self.seen.append(SILENCE)
        self._wake()

    async def until(self, count: int) -> None:
        """Wait for so many frames, or the end."""
        while len(self.seen) < count and not self.is_over:
            self._news = asyncio.get_running_loop().create_future()
            await self._news

    @property
    def is_over(self) -> bool:
        return bool(self.seen) and isinstance(self.seen[-1], str)

    _news: asyncio.Future[None] | None = None

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _frame(self) -> Frame:
        first, second = await self.peer.exactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(await self.peer.exactly(2 if size == 126 else 8), "big")
        mask = await self.peer.exactly(4) if second & 0x80 else b""
        payload = await self.peer.exactly(size)
        if mask:
            payload = masked(payload, mask)
        short = payload if size <= 1000 else hashlib.sha256(payload).digest()
        return Frame(first & 0x0F, short, size, bool(first & 0x80), first >> 4 & 7, bool(mask))


Step = bytes | int | None
"""What one send is given; or how many frames to wait for; or None: nothing more will be sent, but read on."""


@dataclass(frozen=True)
class Case:
    """``code``: that of the close frame which a server shall send, None for none."""

    name: str
    steps: Callable[[], Iterable["Step"]]
    code: int | None = NORMAL


async def play(port: int, request: bytes, case: Case) -> list[Frame | str]:
    """Return what a visitor sees who does as the case says."""
    client = await Client.open(port, request)
    receiving = asyncio.get_running_loop().create_task(client.receive())
    try:
        with contextlib.suppress(ConnectionError):
            for step in case.steps():
                if step is None:
                    client.peer.sock.shutdown(socket.SHUT_WR)
                elif isinstance(step, int):
                    await client.until(step)
                else:
                    await client.peer.send(step)
        await receiving
    finally:
        receiving.cancel()
        client.peer.close()
    return client.seen


# The cases

CASES: list[Case] = []


def add(name: str, steps: Callable[[], Iterable[Step]], code: int | None = NORMAL) -> None:
    CASES.append(Case(name, steps, code))


def echoed(name: str, *sent: Step, wait: int) -> None:
    """A case that ends well: all is sent, ``wait`` frames come, then the client closes."""
    add(name, lambda: [*sent, wait, closing(NORMAL)])


def failed(name: str, *sent: Step, code: int | None = PROTOCOL_ERROR) -> None:
    """A case that the server must end."""
    add(name, lambda: sent, code)


def _framing() -> None:
    sizes = (0, 125, 126, 127, 128, 65535, 65536)
    for kind, opcode, filler in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        for number, size in enumerate(sizes, 1):
            echoed(f"1.{kind}.{number}", frame(opcode, filler * size), wait=1)
        echoed(f"1.{kind}.8", *chopped(frame(opcode, filler * 65536), 997), wait=1)


def _pings() -> None:
    echoed("2.1", frame(PING), wait=1)
    echoed("2.2", frame(PING, b"Hello, world!"), wait=1)
    echoed("2.3", frame(PING, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), wait=1)
    echoed("2.4", frame(PING, b"\xfe" * 125), wait=1)
    failed("2.5", frame(PING, b"\xfe" * 126))
    echoed("2.6", *chopped(frame(PING, b"\xfe" * 125)), wait=1)
    echoed("2.7", frame(PONG), wait=0)
    echoed("2.8", frame(PONG, b"unsolicited pong payload"), wait=0)
    echoed("2.9", frame(PONG, b"unsolicited pong payload"), frame(PING, b"ping payload"), wait=1)
    pings = [frame(PING, b"payload-%d" % number) for number in range(10)]
    echoed("2.10", *pings, wait=10)
    echoed("2.11", *chopped(b"".join(pings)), wait=10)


def _reserved_bits() -> None:
    hello = frame(TEXT, b"Hello, world!")
    failed("3.1", frame(TEXT, b"Hello, world!", rsv=1))
    failed("3.2", hello, 1, frame(TEXT, b"Hello, world!", rsv=2) + frame(PING))
    failed("3.3", hello, 1, frame(TEXT, b"Hello, world!", rsv=3), frame(PING))
    failed("3.4", *chopped(hello), 1, *chopped(frame(TEXT, b"Hello, world!", rsv=4) + frame(PING)))
    failed("3.5", frame(BINARY, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", rsv=5))
    failed("3.6", frame(PING, b"Hello, world!", rsv=6))
    failed("3.7", frame(CLOSE, rsv=7))


def _reserved_opcodes() -> None:
    hello = frame(TEXT, b"Hello, world!")
    for group, base in ((1, 3), (2, 11)):
        failed(f"4.{group}.1", frame(base))
        failed(f"4.{group}.2", frame(base + 1, b"reserved opcode payload"))
        failed(f"4.{group}.3", hello, 1, frame(base + 2) + frame(PING))
        failed(f"4.{group}.4", hello, 1, frame(base + 3, b"reserved opcode payload"), frame(PING))
        odd = frame(base + 4, b"reserved opcode payload") + frame(PING)
        failed(f"4.{group}.5", *chopped(hello), 1, *chopped(odd))


def _fragmentation() -> None:
    two = fragments(TEXT, b"fragment1", b"fragment2")
    pinged = [two[0], frame(PING, b"ping payload"), two[1]]
    whole = frame(TEXT, b"not a continuation")
    failed("5.1", *fragments(PING, b"fragment1", b"fragment2"))
    failed("5.2", *fragments(PONG, b"fragment1", b"fragment2"))
    echoed("5.3", b"".join(two), wait=1)
    echoed("5.4", *two, wait=1)
    echoed("5.5", *chopped(b"".join(two)), wait=1)
    echoed("5.6", b"".join(pinged), wait=2)
    echoed("5.7", *pinged, wait=2)
    echoed("5.8", *chopped(b"".join(pinged)), wait=2)
    for number, fin in ((9, True), (12, False)):
        stray = [frame(CONTINUATION, b"non-continuation payload", fin=fin), whole]
        failed(f"5.{number}", b"".join(stray))
        failed(f"5.{number + 1}", *stray)
        failed(f"5.{number + 2}", *chopped(b"".join(stray)))
    failed("5.15", *two, 1, frame(CONTINUATION, b"fragment3", fin=False), frame(TEXT, b"fragment4"))
    failed("5.16", *[frame(CONTINUATION, b"fragment1", fin=False), frame(TEXT, b"fragment2")] * 2)
    failed("5.17", *[frame(CONTINUATION, b"fragment1"), frame(TEXT, b"fragment2")] * 2)
    failed("5.18", frame(TEXT, b"fragment1", fin=False), frame(TEXT, b"fragment2"))
    five = fragments(TEXT, *(b"fragment%d" % number for number in range(1, 6)))
    first, second = frame(PING, b"pongme 1!"), frame(PING, b"pongme 2!")
    echoed("5.19", *five[:2], first, 1, *five[2:4], second, five[4], wait=3)
    echoed("5.20", *five[:2], first, *five[2:4], second, five[4], wait=3)


GREEK = bytes.fromhex("cebae1bdb9cf83cebcceb5")  # kosme, with an acute of three bytes
LONG_TEXT = "Hello-µ@ßöäüàá-UTF-8!!".encode()
SURROGATE = b"\xed\xa0\x80"
TOO_HIGH = b"\xf4\x90\x80\x80"
INCOMPLETE = "c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf"


def _runs(*ranges: tuple[int, int]) -> str:
    return " ".join("".join(f"{byte:02x}20" for byte in range(*bounds)) for bounds in ranges)


TEXTS: dict[int, str] = {
    5: " ".join(text.encode().hex() for text in ("hello$world", "hello¢world", "hello€world", "hello𤭢world"))
    + f" {GREEK.hex()}",
    6: " ".join(GREEK[:size].hex() for size in range(1, len(GREEK) + 1)),
    7: "00 c280 e0a080 f0908080",
    8: "f888808080 fc8480808080",
    9: "7f dfbf efbfbf f48fbfbf",
    10: "f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf",
    11: "ed9fbf ee8080 efbfbd f48fbfbf f4908080",
    12: "80 bf 80bf 80bf80 80bf80bf 80bf80bf80 80bf80bf80bf " + bytes(range(0x80, 0xBF)).hex(),
    13: _runs((0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD)),
    14: INCOMPLETE,
    15: INCOMPLETE.replace(" ", ""),
    16: "fe ff fefeffff",
    17: "c0af e080af f08080af f8808080af fc80808080af",
    18: "c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf",
    19: "c080 e08080 f0808080 f880808080 fc8080808080",
    20: "eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf",
    21: "eda080edb080 eda080edbfbf edadbfedb080 edadbfedbfbf edae80edb080 edae80edbfbf edafbfedb080 edafbfedbfbf",
    22: " ".join(chr(plane << 16 | last).encode().hex() for plane in range(17) for last in (0xFFFE, 0xFFFF)),
    23: "efbfb9 efbfba efbfbb efbfbc efbfbd efbfbe efbfbf",
}
"""The texts of subgroups 6.5 to 6.23 in hexadecimal; which of them are UTF-8, Python says."""


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _texts() -> None:
    echoed("6.1.1", frame(TEXT), wait=1)
    echoed("6.1.2", *fragments(TEXT, b"", b"", b""), wait=1)
    echoed("6.1.3", *fragments(TEXT, b"", b"middle frame payload", b""), wait=1)
    echoed("6.2.1", frame(TEXT, LONG_TEXT), wait=1)
    echoed("6.2.2", *fragments(TEXT, LONG_TEXT[:12], LONG_TEXT[12:]), wait=1)
    echoed("6.2.3", *fragments(TEXT, *chopped(LONG_TEXT)), wait=1)
    echoed("6.2.4", *fragments(TEXT, *chopped(GREEK)), wait=1)
    wrong = GREEK + SURROGATE + b"edited"
    failed("6.3.1", frame(TEXT, wrong), code=BAD_TEXT)
    failed("6.3.2", *fragments(TEXT, *chopped(wrong)), code=BAD_TEXT)
    parts = (GREEK, TOO_HIGH, b"edited")
    failed("6.4.1", *fragments(TEXT, *parts), code=BAD_TEXT)
    failed("6.4.2", *fragments(TEXT, GREEK + TOO_HIGH[:1], TOO_HIGH[1:2], TOO_HIGH[2:] + b"edited"), code=BAD_TEXT)
    data = frame(TEXT, b"".join(parts))
    ends = [len(data) - 10, len(data) - 6]
    failed("6.4.3", data[: ends[0]], data[ends[0] : ends[1]], data[ends[1] :], code=BAD_TEXT)
    failed("6.4.4", data[: ends[0] + 1], data[ends[0] + 1 : ends[0] + 2], data[ends[0] + 2 :], code=BAD_TEXT)
    for group, texts in TEXTS.items():
        for number, text in enumerate(texts.split(), 1):
            data = bytes.fromhex(text)
            if _is_text(data):
                echoed(f"6.{group}.{number}", frame(TEXT, data), wait=1)
            else:
                failed(f"6.{group}.{number}", frame(TEXT, data), code=BAD_TEXT)


GOOD_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
BAD_CODES = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)


def _closes() -> None:
    hello, normal = frame(TEXT, b"Hello World!"), closing(NORMAL)
    echoed("7.1.1", hello, wait=1)
    failed("7.1.2", normal, normal, code=NORMAL)
    failed("7.1.3", normal, frame(PING), code=NORMAL)
    failed("7.1.4", normal, hello, code=NORMAL)
    one, other = fragments(TEXT, b"fragment1", b"fragment2")
    failed("7.1.5", one, normal, other)
    failed("7.1.6", frame(TEXT, b"BAsd7&jh23" * (256 * KILO // 10)), 1, hello, 2, normal, frame(PING), code=NORMAL)
    failed("7.3.1", frame(CLOSE), code=NO_CODE)
    failed("7.3.2", frame(CLOSE, b"a"))
    failed("7.3.3", normal, code=NORMAL)
    failed("7.3.4", closing(NORMAL, b"Hello World!"), code=NORMAL)
    failed("7.3.5", closing(NORMAL, b"*" * 123), code=NORMAL)
    failed("7.3.6", closing(NORMAL, b"*" * 124))
    failed("7.5.1", closing(NORMAL, GREEK + SURROGATE), code=BAD_TEXT)
    for number, code in enumerate(GOOD_CODES, 1):
        failed(f"7.7.{number}", closing(code), code=code)
    for number, code in enumerate(BAD_CODES, 1):
        failed(f"7.9.{number}", closing(code))
    failed("7.13.1", closing(5000))
    failed("7.13.2", closing(65535))


def _half_closes() -> None:
    """Of our own: whoever has ended still hears the other's (TCP's half-close)."""
    hello = frame(TEXT, b"Hello World!")
    failed("half.1", closing(NORMAL, b"bye"), None, code=NORMAL)
    failed("half.2", hello, 1, closing(GOOD_CODES[-1]), None, code=GOOD_CODES[-1])
    failed("half.3", frame(PING, b"last"), None, code=None)
    failed("half.4", hello, 1, None, code=None)
    failed("half.5", hello[:5], None, code=None)
    failed("half.6", None, code=None)
    failed("half.7", frame(TEXT, b"reserved", rsv=4), None)


def _own_limits() -> None:
    """Of our own: more fragments than one of the servers takes, which says so."""
    parts = [b"x" * 60] * 16384
    failed("many.1", b"".join(fragments(BINARY, *parts)), 1, closing(TOO_BIG), code=TOO_BIG)
    failed("many.2", *[frame(PING, b"%d" % number) for number in range(1000)], 1000, closing(NORMAL), code=NORMAL)


def _large(name: str, opcode: int, size: int, part: int = 0, chop: int = 0) -> None:
    """One message of this size, in fragments of ``part`` bytes, or sent in pieces of ``chop`` bytes."""

    def steps() -> Iterator[Step]:
        payload = b"BAsd7&jh23______" * (size // 16) if opcode == TEXT else b"\xfe\x01\x7f\x80" * (size // 4)
        if part:
            yield b"".join(fragments(opcode, *chopped(payload, part)))
        elif chop:
            yield from chopped(frame(opcode, payload), chop)
        else:
            yield frame(opcode, payload)
        yield 1
        yield closing(NORMAL)

    add(name, steps)


def _many(name: str, opcode: int, size: int, count: int) -> None:
    """So many messages of this size, each after the echo of the one before."""

    def steps() -> Iterator[Step]:
        for number in range(1, count + 1):
            yield frame(opcode, b"*" * size)
            yield number
        yield closing(NORMAL)

    add(name, steps)


def _limits() -> None:
    for kind, opcode in enumerate((TEXT, BINARY)):
        for number, size in enumerate((64 * KILO, 256 * KILO, MEGA, 4 * MEGA, 8 * MEGA, 16 * MEGA), 1):
            _large(f"9.{1 + kind}.{number}", opcode, size)
        for number in range(9):
            size = min(MEGA, 4096 * 64 << 2 * number)  # more than 4096 fragments are refused by one of the servers
            _large(f"9.{3 + kind}.{number + 1}", opcode, size, part=64 << 2 * number)
        for number in range(6):
            _large(f"9.{5 + kind}.{number + 1}", opcode, MEGA // 2, chop=64 << number)
        for number, size in enumerate((0, 16, 64, 256, KILO, 4 * KILO), 1):
            _many(f"9.{7 + kind}.{number}", opcode, size, 100)


for _group in (
    _framing,
    _pings,
    _reserved_bits,
    _reserved_opcodes,
    _fragmentation,
    _texts,
    _closes,
    _half_closes,
    _own_limits,
    _limits,
):
    _group()
