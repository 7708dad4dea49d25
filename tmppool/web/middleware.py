"""Errors into answers, in one place: a page for a person, JSON for a program, and never a traceback."""

from collections.abc import Awaitable, Callable

import aiohttp
import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from tmppool.web.api import require_token
from tmppool.web.pages import Pages, wants_page

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_TITLES = {
    400: "That request made no sense",
    403: "Not allowed",
    404: "Nothing here",
    405: "Not this way",
    413: "Too large",
    421: "Not at this address",
}
_MESSAGES = {
    404: "There is no page at this address.",
    405: "This address does not take that kind of request.",
    413: "What was sent is larger than this service takes.",
}

_log = structlog.get_logger("tmppool.web")


def errors(pages: Pages) -> Middleware:
    """Return the middleware that answers for what handlers raise."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:  # noqa: PLR2004 - a redirect is no error
                raise
            own = error.text if error.text and not error.text.startswith(f"{error.status}:") else None
            return _say(pages, request, error.status, own or _MESSAGES.get(error.status, error.reason), error)
        except (ConnectionError, aiohttp.ClientError):
            raise  # the visitor left, or the notebook broke off in the middle of its answer
        except Exception:
            _log.exception("request.failed", method=request.method, route=_route(request))
            return _say(pages, request, 500, "Something failed here. It has been noted; please try again.", None)

    return answer


def token(wanted: str | None) -> Middleware:
    """Return the middleware that asks every request for the admin token."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        require_token(request, wanted)
        return await handler(request)

    return check


def _say(
    pages: Pages, request: web.Request, status: int, message: str, error: web.HTTPException | None
) -> web.Response:
    if wants_page(request):
        response = pages.error(status, _TITLES.get(status, "Something failed"), message)
    else:
        response = web.json_response({"message": message.strip()}, status=status, headers={"Cache-Control": "no-store"})
    for name in ("Allow", "Sec-WebSocket-Version"):
        if error is not None and name in error.headers:
            response.headers[name] = error.headers[name]
    return response


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""
