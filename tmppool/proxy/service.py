"""What the connections of one listener have in common."""

from dataclasses import dataclass

from aiohttp import web

from tmppool.proxy.deadlines import Deadlines
from tmppool.proxy.passage import Decide
from tmppool.proxy.sweep import Sweep
from tmppool.proxy.turns import Turns


@dataclass(frozen=True, slots=True)
class Service:
    """What all connections of one listener share.

    ``decide`` returns the passage of a request, None for one that aiohttp answers. Raises BadMessageError.
    ``upload_limit``: bytes of one request's body for a notebook, 0 for any number.
    """

    server: web.Server
    decide: Decide
    sweep: Sweep
    turns: Turns
    deadlines: Deadlines
    upload_limit: int
