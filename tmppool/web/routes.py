"""The routing tables of both listeners."""

from aiohttp import web

from tmppool import jupyter_urls
from tmppool.proxy.application import MAX_BODY
from tmppool.web import middleware, openapi
from tmppool.web.addresses import BELOW_HUB, PEER_LINKS
from tmppool.web.admin import Admin
from tmppool.web.answers import Answers
from tmppool.web.api import Api
from tmppool.web.build import Build
from tmppool.web.claim import Claim
from tmppool.web.embed_page import EmbedPage
from tmppool.web.enter import Entrance
from tmppool.web.home import Home
from tmppool.web.launch import Launch
from tmppool.web.pages import FOR_AUTHORS, Static
from tmppool.web.peer_redirects import PeerRedirects
from tmppool.web.preview import Preview
from tmppool.web.session import Session

_REST = "rest:(?s:.*)"  # a name may hold a newline
_PREVIEWERS = ("facebookexternalhit", "LinkedInBot", "Twitterbot")  # read a link for the person who posts it
_ROBOTS = "".join(f"User-agent: {name}\n" for name in _PREVIEWERS) + "Disallow:\n\nUser-agent: *\nDisallow: /\n"


def public(
    launch: Launch | None,
    api: Api,
    session: Session,
    claim: Claim,
    answers: Answers,
    entrance: Entrance,
    peer: PeerRedirects,
    build: Build,
    home: Home,
    preview: Preview,
    embed: EmbedPage,
    *,
    is_locked: bool,
) -> web.Application:
    """Return the public listener's application; without ``launch`` it has no launch pages, as in tmpnb."""
    app = _application(answers, entrance)
    if launch is not None:
        _add_launch_links(app.router, launch, peer, home)
        app.router.add_get("/embed", embed.page)
        app.router.add_get("/oembed", preview.oembed)
        app.router.add_route("OPTIONS", "/oembed", api.preflight)
        app.router.add_get(f"/picture/{{{_REST}}}", preview.picture)
        app.router.add_get(f"/build/{{{_REST}}}", build.stream)
        app.router.add_route("OPTIONS", f"/build/{{{_REST}}}", build.preflight)
        app.on_shutdown.append(build.cut)
    _add_api(app.router, api)
    _add_what_any_page_may_ask(app.router, peer, build)
    _add_sessions(app.router, session, claim)
    described = openapi.public(with_pages=launch is not None, is_local=is_locked)
    app.router.add_get(openapi.PATH, openapi.serve(described))
    app.router.add_route("OPTIONS", openapi.PATH, api.preflight)
    app.router.add_get("/robots.txt", _robots)
    static = Static()
    app.router.add_get("/static/{name}", static.serve)
    for name in FOR_AUTHORS:
        app.router.add_get(f"/{name}", static.show_elsewhere)
    return app


def _add_launch_links(router: web.UrlDispatcher, launch: Launch, peer: PeerRedirects, home: Home) -> None:
    router.add_get("/", launch.show)
    for path in ("/spawn", f"/spawn/{{{_REST}}}"):
        router.add_get(path, launch.show)
        router.add_post(path, launch.start)
    for prefix in jupyter_urls.DEEP_LINKS:
        router.add_get(f"/{prefix}", launch.show)
        router.add_get(f"/{prefix}/{{{_REST}}}", launch.show)
    router.add_get("/hub/home", home.page)
    for path in ("/hub", "/hub/"):
        router.add_get(path, home.lead)
    for path in ("/hub/login", "/hub/lti/launch"):
        router.add_get(path, peer.follow)
    for form in (*PEER_LINKS, "hub/spawn"):
        router.add_get(f"/{form}", peer.follow)
        router.add_get(f"/{form}/{{{_REST}}}", peer.follow)


def _add_api(router: web.UrlDispatcher, api: Api) -> None:
    for path in ("/api/spawn", "/api/spawn/"):
        router.add_post(path, api.spawn)
        router.add_route("OPTIONS", path, api.preflight)
    told = (
        ("/api/stats", api.stats),
        ("/stats", api.stats),
        ("/api/documents", api.documents),
        ("/health", api.health),
    )
    for path, tell in told:
        router.add_get(path, tell)
        router.add_route("OPTIONS", path, api.preflight)


def _add_what_any_page_may_ask(router: web.UrlDispatcher, peer: PeerRedirects, build: Build) -> None:
    told = [("/versions", peer.versions), ("/hub/api", peer.hub), ("/hub/api/", peer.hub)]
    told += [(f"/{prefix}{rest}", peer.leave_hub) for prefix in BELOW_HUB for rest in ("", f"/{{{_REST}}}")]
    for path, tell in told:
        router.add_get(path, tell)
        router.add_route("OPTIONS", path, build.preflight)


def _add_sessions(router: web.UrlDispatcher, session: Session, claim: Claim) -> None:
    router.add_get("/api/session/{key}", session.tell)
    router.add_delete("/api/session/{key}", session.end)
    router.add_post("/api/session/{key}/{verb:extend|touch}", session.extend)
    router.add_post("/api/session/{key}/share", session.share)
    router.add_delete("/api/session/{key}/share", session.share)
    router.add_get("/session/{key}", session.page)
    router.add_post("/session/{key}/{verb:share|unshare|end}", session.press)
    router.add_get("/session/{key}/claim", claim.ask)
    router.add_post("/session/{key}/claim", claim.confirm)


def admin(handlers: Admin, answers: Answers) -> web.Application:
    """Return the application of the admin listener."""
    app = _application(answers)
    app.router.add_delete("/api/pool", handlers.drain)
    app.router.add_get("/api/notebooks", handlers.notebooks)
    app.router.add_delete("/api/notebooks/{key}", handlers.end)
    app.router.add_get("/health", handlers.health)
    app.router.add_get("/metrics", handlers.metrics)
    app.router.add_get(openapi.PATH, openapi.serve(openapi.admin()))
    return app


def _application(answers: Answers, entrance: Entrance | None = None) -> web.Application:
    middlewares = [middleware.errors(answers), middleware.carry_out(answers, entrance)]
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY)
    app.on_response_prepare.append(middleware.set_safety_headers)
    return app


async def _robots(request: web.Request) -> web.Response:
    del request
    return web.Response(text=_ROBOTS)
