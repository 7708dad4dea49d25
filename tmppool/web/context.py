"""The verdict of the edge, as handlers find it with their request."""

from aiohttp import web

from tmppool.web.verdict import Admitted, Serve, Verdict
from tmppool.web.visit import Visit


def visit_of(request: web.BaseRequest) -> Visit:
    """Return the facts of this request."""
    visit = request.get_extra_info("visit")
    assert isinstance(visit, Visit), "every listener decides on a request before its application is asked"
    return visit


def verdict_of(request: web.BaseRequest) -> Verdict:
    """Return what is to answer this request."""
    verdict: Verdict = request.get_extra_info("verdict")
    return verdict


def admitted_of(request: web.BaseRequest) -> Admitted:
    """Return the notebook that this request is about. Raises HTTPNotFound where it was not judged to be about one."""
    verdict = verdict_of(request)
    if not isinstance(verdict, Serve) or verdict.held is None:
        raise web.HTTPNotFound
    return verdict.held
