"""A notebook that only speaks WebSocket: ``python echo.py BASE_PATH PORT``.

``echo`` says again what it hears, ``flood?size=N`` sends one message of N bytes in one frame, whoever reads it,
``sink`` answers only how much it has heard.
"""

import asyncio
import base64
import hashlib
import struct
import sys
from urllib.parse import parse_qs, urlsplit

PIECE = bytes(range(256)) * 256
CLOSE = 8
GIVEN = {"bytes": 0}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await talk(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    target = urlsplit(start.split(" ")[1])
    if "sec-websocket-key" not in fields:
        body = str(GIVEN["bytes"]).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return
    guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
    digest = base64.b64encode(hashlib.sha1((fields["sec-websocket-key"] + guid).encode()).digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
    writer.write(b"Sec-WebSocket-Accept: %b\r\n\r\n" % digest)
    if target.path.endswith("/flood"):
        await flood(writer, int(parse_qs(target.query)["size"][0]))
    else:
        await echo(reader, writer)


async def flood(writer: asyncio.StreamWriter, size: int) -> None:
    writer.write(b"\x82\x7f" + struct.pack("!Q", size))
    for left in range(size, 0, -len(PIECE)):
        writer.write(PIECE[:left])
        await writer.drain()
        GIVEN["bytes"] += min(left, len(PIECE))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say each frame again, as it comes and unmasked, the last one included (RFC 6455 section 5.5.1)."""
    first = 0
    while first & 0x0F != CLOSE:
        first, second = await reader.readexactly(2)
        size = second & 0x7F
        wide = {126: 2, 127: 8}.get(size, 0)
        length = await reader.readexactly(wide)
        size = int.from_bytes(length, "big") if wide else size
        mask = await reader.readexactly(4)
        writer.write(bytes([first, second & 0x7F]) + length)
        at = 0
        while at < size:
            piece = await reader.read(min(len(PIECE), size - at))
            if not piece:
                return
            writer.write(unmasked(piece, mask[at % 4 :] + mask[: at % 4]))
            await writer.drain()
            at += len(piece)
            GIVEN["bytes"] += len(piece)


def unmasked(piece: bytes, mask: bytes) -> bytes:
    size = len(piece)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(piece, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[2]))
    await server.serve_forever()


asyncio.run(main())
