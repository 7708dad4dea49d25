"""A notebook that only takes and gives bytes: ``python sink.py BASE_PATH PORT``."""

import hashlib
import sys

from aiohttp import web

PIECE = bytes(range(256)) * 256
GIVEN = {"bytes": 0}


async def take(request: web.Request) -> web.Response:
    digest, size = hashlib.sha256(), 0
    async for piece in request.content.iter_any():
        digest.update(piece)
        size += len(piece)
    return web.json_response({"size": size, "sha256": digest.hexdigest()})


async def give(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    left = int(request.query["size"])
    while left > 0:
        await response.write(PIECE[:left])
        left -= len(PIECE)
        GIVEN["bytes"] += len(PIECE)
    return response


async def given(_request: web.Request) -> web.Response:
    return web.json_response(GIVEN)


def main() -> None:
    base, port = sys.argv[1], int(sys.argv[2])
    app = web.Application(client_max_size=1 << 40)
    app.router.add_get(f"{base}api", lambda _request: _ok())
    app.router.add_post(f"{base}take", take)
    app.router.add_get(f"{base}give", give)
    app.router.add_get(f"{base}given", given)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


async def _ok() -> web.Response:
    return web.Response()


main()
