"""The parts that all connections of one listener share."""

from dataclasses import dataclass, field

from tmppool.proxy.application import Application
from tmppool.proxy.fairness import TurnQueue
from tmppool.proxy.rare_warning import RareWarning
from tmppool.proxy.route import Decide
from tmppool.proxy.timeouts import Timeouts
from tmppool.proxy.watchdog import Watchdog


@dataclass(frozen=True, slots=True)
class ConnectionContext:
    """``upload_limit``: bytes of one request's body for a notebook, 0 for any number."""

    application: Application
    decide: Decide
    watchdog: Watchdog
    turns: TurnQueue
    timeouts: Timeouts
    upload_limit: int
    proxy_protocol: RareWarning = field(default_factory=RareWarning)
