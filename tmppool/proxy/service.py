"""What the connections of one listener have in common."""

from dataclasses import dataclass

from tmppool.proxy.application import Application
from tmppool.proxy.fairness import Turns
from tmppool.proxy.route import Decide
from tmppool.proxy.sweep import Sweep
from tmppool.proxy.timeouts import Timeouts


@dataclass(frozen=True, slots=True)
class Service:
    """``decide`` says where a request goes. ``upload_limit``: bytes of one request's body for a notebook, 0 for any."""

    application: Application
    decide: Decide
    sweep: Sweep
    turns: Turns
    timeouts: Timeouts
    upload_limit: int
