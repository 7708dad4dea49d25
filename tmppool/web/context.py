"""The visit and the verdict that the edge attached to a request."""

from aiohttp import web

from tmppool.web.verdict import Admitted, Serve, Verdict
from tmppool.web.visit import Visit


def visit_of(request: web.BaseRequest) -> Visit:
    """Return the visit of this request."""
    visit = request.get_extra_info("visit")
    assert isinstance(visit, Visit), "every listener decides on a request before its application is asked"
    return visit


def verdict_of(request: web.BaseRequest) -> Verdict:
    """Return the verdict on this request."""
    verdict: Verdict = request.get_extra_info("verdict")
    return verdict


def admitted_of(request: web.BaseRequest) -> Admitted:
    """Return the notebook that this request concerns. Raises HTTPNotFound if its verdict names none."""
    verdict = verdict_of(request)
    if not isinstance(verdict, Serve) or verdict.held is None:
        raise web.HTTPNotFound
    return verdict.held
