"""A request for a notebook, by the launch page or a program: its pool, its workshop code, and its refusal."""

from collections.abc import Mapping
from urllib.parse import parse_qs

from aiohttp import web

from tmppool.errors import NoNotebookError, Shortage
from tmppool.pool import Pool
from tmppool.pools import Pools
from tmppool.web import links, own_cookies
from tmppool.web.answers import AnswerError
from tmppool.web.kinds import Kind
from tmppool.web.start_limits import Cause, StartRefusedError
from tmppool.web.verdict import Answer
from tmppool.web.visit import Visit

_MAX_FIELDS = 1000
_REFUSALS: dict[Cause, Kind] = {
    "starts": Kind.LIMITED,
    "guesses": Kind.LIMITED,
    "held": Kind.HELD,
    "code": Kind.WRONG_CODE,
}
_SHORTAGES = {
    Shortage.FULL: Kind.FULL,
    Shortage.WARMING: Kind.WARMING,
    Shortage.BACKEND_ILL: Kind.WARMING,  # its own sentence, by the cause; the client has to retry too
}


def refused(error: StartRefusedError | NoNotebookError) -> Answer:
    """Return the answer to a start that the limits of its address refuse, or for which no notebook is free."""
    facts = {"message": str(error), "retry_after": error.retry_after or None, "cause": error.cause}
    kind = _REFUSALS[error.cause] if isinstance(error, StartRefusedError) else _SHORTAGES[error.cause]
    return Answer(kind, facts)


def pool_of(visit: Visit, pools: Pools) -> Pool:
    """Return the pool that the link names, by default the default pool. Raises AnswerError."""
    pool = pools.get(links.pool_of(visit.target))
    if pool is None:
        raise AnswerError(Kind.NO_POOL)
    return pool


async def read_form(request: web.Request) -> dict[str, str]:
    """Return the fields of a URL-encoded form; empty for any other body. Raises HTTPRequestEntityTooLarge."""
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    try:
        body = (await request.read()).decode("utf-8", "replace")
        found = parse_qs(body, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except (ValueError, web.RequestPayloadError):  # too many fields, or an invalid content coding
        return {}
    return {name: values[0] for name, values in found.items()}


def workshop_code(visit: Visit, form: Mapping[str, str]) -> str:
    """Return the workshop code that the form or the link names; empty without one."""
    return form.get("code") or links.code_of(visit.target)


def visitors_code(visit: Visit, form: Mapping[str, str]) -> str:
    """Return the workshop code that a visitor gives, or that a link has left in a cookie.

    Who sees the form's field and leaves it empty starts without what a link has left. A cookie counts for the launch
    page's form alone, which gives a visitor one notebook: at one host, a page in a notebook could start any number by
    the API, and all with the code.
    """
    given = workshop_code(visit, form)
    if given or "code" in form:
        return given
    return min(own_cookies.secrets_in(visit.cookies, "code", visit.cookie_scope), default="")
