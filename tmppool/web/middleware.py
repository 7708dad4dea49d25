"""Middlewares that carry out the verdict on each request, and turn errors into answers."""

from collections.abc import Awaitable, Callable

import aiohttp
import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from tmppool.proxy.headers import READABLE
from tmppool.web.answers import AnswerError, Answers
from tmppool.web.context import verdict_of, visit_of
from tmppool.web.enter import Entrance, redirect
from tmppool.web.kinds import Kind
from tmppool.web.verdict import Admitted, Answer, Enter, HandOff, Preflight, Redeem, Redirect, Serve, Unlock

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_KINDS = {404: Kind.NOTHING, 405: Kind.METHOD, 413: Kind.TOO_LARGE}
_ALLOWED = "Access-Control-Allow-Origin"
_PASSED_ON = ("Allow", "Sec-WebSocket-Version")

_log = structlog.get_logger("tmppool.web")


def carry_out(answers: Answers, entrance: Entrance | None = None) -> Middleware:
    """Return the middleware that carries out a verdict; ``Serve`` goes on to the route's handler.

    A listener whose judge admits nobody to a notebook needs no ``entrance``.
    """

    @web.middleware
    async def act(request: web.Request, handler: Handler) -> web.StreamResponse:
        visit, verdict = visit_of(request), verdict_of(request)
        match verdict:
            case Serve(held):
                return _readable(await handler(request), held)
            case Answer():
                return answers.render(verdict, visit)
            case Redirect(location, code):
                return redirect(location, code)
            case Preflight(is_private):
                return answers.preflight_with_token(is_private=is_private)
            case Unlock() if entrance is not None:
                return entrance.unlock(visit, verdict)
            case Enter() | Redeem() | HandOff() if entrance is not None:
                return await entrance.enter(visit, verdict)
        raise RuntimeError(f"this listener cannot carry out {type(verdict).__name__}")

    return act


def _readable(response: web.StreamResponse, held: Admitted | None) -> web.StreamResponse:
    """Let the page that sent the token of a notebook read the response, wherever it is."""
    if held is not None and held.is_explicit:
        response.headers.update(READABLE)
    return response


def errors(answers: Answers) -> Middleware:
    """Return the middleware that turns exceptions into answers."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except AnswerError as error:
            return answers.render(error.answer, visit_of(request))
        except web.HTTPException as error:
            if error.status < 400:  # noqa: PLR2004 - a redirect is no error
                raise
            said = error.text if error.text and not error.text.startswith(f"{error.status}:") else None
            facts = {} if said is None else {"message": said}
            response = answers.render(Answer(_KINDS.get(error.status, Kind.BAD), facts), visit_of(request))
            response.headers.update({name: error.headers[name] for name in _PASSED_ON if name in error.headers})
            return response
        except (ConnectionError, aiohttp.ClientError):
            raise  # the client disconnected, or a notebook broke off its answer
        except Exception:
            _log.exception("request.failed", method=request.method, route=_route(request))
            return answers.render(Answer(Kind.FAILED), visit_of(request))

    return answer


async def set_safety_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal: forbid content sniffing, and hide the name of the server software.

    What is for programs, the pages of origins that the settings allow may read (Fetch, section 3.3.3).
    """
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Server"] = "tmppool"
    visit = visit_of(request)
    sender = visit.request.fields.first.get(b"origin")
    if sender is None or not visit.address.is_api or response.headers.get(_ALLOWED) == "*":
        return
    if visit.may_use_api:
        response.headers[_ALLOWED] = sender.decode("latin-1")
        response.headers.add("Vary", "Origin")


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""
