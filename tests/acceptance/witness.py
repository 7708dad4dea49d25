"""A notebook that remembers what reached it: ``python witness.py BASE_PATH PORT``."""

import sys

from aiohttp import web

SEEN: list[str] = []
PAGE = "<!doctype html><html><head><title>Witness</title></head><body><h1>A notebook</h1></body></html>"


async def seen(_request: web.Request) -> web.Response:
    return web.json_response(SEEN)


async def echo(request: web.Request) -> web.WebSocketResponse:
    SEEN.append(f"{request.method} {request.path_qs} websocket")
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket


async def version(_request: web.Request) -> web.Response:
    return web.json_response({"version": "2.0"})


async def status(_request: web.Request) -> web.Response:
    return web.json_response({"last_activity": "2026-01-01T00:00:00Z"})


async def other(request: web.Request) -> web.Response:
    SEEN.append(f"{request.method} {request.path_qs}")
    if request.path.endswith(".js"):
        return web.Response(text="", content_type="text/javascript", headers={"Service-Worker-Allowed": "/"})
    return web.Response(text=PAGE, content_type="text/html")


def main() -> None:
    base, port = sys.argv[1], int(sys.argv[2])
    app = web.Application()
    app.router.add_get(f"{base}seen", seen)
    app.router.add_get(f"{base}api", version)  # as a Jupyter, which has the owner's button
    app.router.add_get(f"{base}api/status", status)
    app.router.add_get(f"{base}api/kernels/1/channels", echo)
    app.router.add_route("*", f"{base}{{rest:.*}}", other)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


main()
