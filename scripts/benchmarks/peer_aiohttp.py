"""A minimal reverse proxy made of aiohttp's low-level server and its client. Run as ``PORT UPSTREAM``.

Both use aiohttp's C parser, and run on uvloop like tmppool. Bodies are streamed, hop-by-hop fields are dropped (RFC
9110 section 7.6.1), nothing is decompressed, and redirects are not followed. Unlike tmppool, it does not check access
or limits, or track activity.
"""

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web
from yarl import URL

_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
_MANY = 100  # maximum connections to the upstream


async def serve(port: int, upstream: str) -> None:
    connector = aiohttp.TCPConnector(limit=_MANY)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, auto_decompress=False) as session:

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            headers = [pair for pair in request.headers.items() if pair[0].lower() not in _HOP_BY_HOP]
            body = request.content if request.body_exists else None
            url = URL(f"{upstream}{request.raw_path}", encoded=True)
            async with session.request(request.method, url, headers=headers, data=body, allow_redirects=False) as reply:
                answer = web.StreamResponse(status=reply.status, reason=reply.reason)
                for name, value in reply.headers.items():
                    if name.lower() not in _HOP_BY_HOP:
                        answer.headers.add(name, value)
                await answer.prepare(request)
                async for piece in reply.content.iter_any():
                    await answer.write(piece)
                await answer.write_eof()
                return answer

        server = web.Server(handle, access_log=None)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port)
        await listener.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
