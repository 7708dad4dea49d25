"""The tables: which address leads where."""

from aiohttp import web

from tmppool import jupyter_urls
from tmppool.proxy.application import MAX_BODY
from tmppool.web import middleware, openapi
from tmppool.web.admin import Admin
from tmppool.web.api import Api
from tmppool.web.front import Front
from tmppool.web.hosting import Hosting
from tmppool.web.local import Local
from tmppool.web.pages import Pages, Static
from tmppool.web.session import Session
from tmppool.web.user import User

_ROBOTS = "User-agent: *\nDisallow: /\n"


def public(
    front: Front | None, api: Api, session: Session, user: User, pages: Pages, hosting: Hosting, local: Local
) -> web.Application:
    """Return the public listener's application; without ``front`` the pages for people are off, as in tmpnb."""
    middlewares = [middleware.errors(pages), hosting.middleware, local.middleware]
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY)
    app.on_response_prepare.append(middleware.say_little)
    router = app.router
    router.add_route("*", "/user/{rest:.*}", user.handle)
    if front is not None:
        router.add_get("/", front.launch)
        for path in ("/spawn", "/spawn/{rest:.*}"):
            router.add_get(path, front.launch)
            router.add_post(path, front.spawn)
        for prefix in jupyter_urls.DEEP_LINKS:
            router.add_get(f"/{prefix}", front.launch)
            router.add_get(f"/{prefix}/{{rest:.*}}", front.launch)
    for path in ("/api/spawn", "/api/spawn/"):
        router.add_post(path, api.spawn)
        router.add_route("OPTIONS", path, api.preflight)
    for path in ("/api/stats", "/stats"):
        router.add_get(path, api.stats)
        router.add_route("OPTIONS", path, api.preflight)
    router.add_get("/api/session/{key}", session.api)
    router.add_delete("/api/session/{key}", session.api)
    router.add_post("/api/session/{key}/{verb:extend|touch}", session.api)
    router.add_post("/api/session/{key}/share", session.share)
    router.add_delete("/api/session/{key}/share", session.share)
    router.add_get("/session/{key}", session.page)
    router.add_post("/session/{key}/{verb:share|unshare|end}", session.act)
    router.add_get("/health", api.health)
    router.add_get(openapi.PATH, openapi.serve(openapi.public(with_pages=front is not None, is_local=local.is_asking)))
    router.add_get("/robots.txt", _robots)
    router.add_get("/static/{name}", Static().serve)
    return app


def admin(handlers: Admin, pages: Pages, token: str | None, ip: str) -> web.Application:
    """Return the application of the admin listener at ``ip``."""
    app = web.Application(
        middlewares=[middleware.errors(pages), middleware.operator_only(token, ip)], client_max_size=MAX_BODY
    )
    app.on_response_prepare.append(middleware.say_little)
    app.router.add_delete("/api/pool", handlers.drain)
    app.router.add_get("/api/notebooks", handlers.notebooks)
    app.router.add_delete("/api/notebooks/{key}", handlers.end)
    app.router.add_get("/metrics", handlers.metrics)
    app.router.add_get(openapi.PATH, openapi.serve(openapi.admin(needs_token=token is not None)))
    return app


async def _robots(request: web.Request) -> web.Response:
    del request
    return web.Response(text=_ROBOTS)
