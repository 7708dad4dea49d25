"""Renders the service's own answers by the shape of their kind: a page for a person, JSON for a program."""

from collections.abc import Mapping

from aiohttp import web

from tmppool.errors import TmppoolError
from tmppool.notebook import REVOCABLE
from tmppool.proxy.headers import READABLE
from tmppool.web import models, own_cookies
from tmppool.web.kinds import Cors, Kind
from tmppool.web.pages import Pages
from tmppool.web.verdict import Answer
from tmppool.web.visit import Visit

_PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-XSRFToken, *",  # * never means Authorization
    "Access-Control-Max-Age": "7200",  # seconds; browsers keep it no longer
    "Cache-Control": "no-store",
}
_HEADERS = {"allow": "Allow", "retry_after": "Retry-After"}


class AnswerError(TmppoolError):
    """Raised by a handler to answer with a kind instead."""

    def __init__(self, kind: Kind, **facts: object) -> None:
        super().__init__(str(facts.get("message", kind.shape.message)))
        self.answer = Answer(kind, facts)


class Answers:
    """``cors`` are the CORS header fields of the settings, which let other origins read the API."""

    def __init__(self, pages: Pages, cors: Mapping[str, str]) -> None:
        self._pages = pages
        self._cors = {Cors.NONE: {}, Cors.SETTINGS: dict(cors), Cors.ANY: READABLE}

    @property
    def sets_cors(self) -> bool:
        """True if the settings name CORS header fields."""
        return bool(self._cors[Cors.SETTINGS])

    def render(self, answer: Answer, visit: Visit) -> web.Response:
        return self.page(answer, visit) if visit.wants_page else self.refusal(answer)

    def page(self, answer: Answer, visit: Visit) -> web.Response:
        """Return the page of an answer, for a person."""
        shape, facts = answer.kind.shape, answer.facts
        home_url = "/" if shape.has_home else ""  # a locked service would answer the same there
        values = {"title": shape.title, "message": shape.message, "detail": "", "home_url": home_url, **facts}
        if shape.for_readers:
            values |= {"message": shape.for_readers, "detail": values["message"]}
        response = self._pages.render(shape.page, shape.code, **values)
        response.headers.update(_headers(facts))
        if shape.forgets_cookie and facts.get("reason") not in REVOCABLE:
            _forget(response, visit)
        return response

    def refusal(self, answer: Answer) -> web.Response:
        """Return the JSON of an answer, for a program."""
        shape, facts = answer.kind.shape, {"message": answer.kind.shape.message, **answer.facts}
        body = shape.body.model_validate({name: facts[name] for name in shape.body.model_fields if name in facts})
        return models.to_response(body, shape.for_programs or shape.code, {**self._cors[shape.cors], **_headers(facts)})

    def json(self, body: models.Body, status: int = 200) -> web.Response:
        """Return a body for programs, with the CORS header fields of the settings."""
        return models.to_response(body, status, self._cors[Cors.SETTINGS])

    def preflight_with_token(self, *, is_private: bool) -> web.Response:
        """Answer a preflight about a notebook: any page may send requests with its token, and none with cookies."""
        private = {"Access-Control-Allow-Private-Network": "true"} if is_private else {}
        return web.Response(status=204, headers={**_PREFLIGHT, **private})

    def preflight(self) -> web.Response:
        """Answer a CORS preflight as the settings allow (Fetch, section 4.9)."""
        return web.Response(status=204, headers=self._cors[Cors.SETTINGS])


def _headers(facts: Mapping[str, object]) -> dict[str, str]:
    return {field: str(facts[name]) for name, field in _HEADERS.items() if facts.get(name) is not None}


def _forget(response: web.Response, visit: Visit) -> None:
    """Delete the cookie of a notebook that has ended, if the browser sent it."""
    if visit.key is None:
        return
    name = own_cookies.notebook_name(visit.key, is_secure=visit.is_secure)
    if any(f"{name}=".encode() in value for value in visit.cookies):  # unparsed: there may be hundreds
        own_cookies.forget(response, name, visit.cookie_scope)
