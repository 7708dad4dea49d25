"""The time that a visitor or a notebook may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, and ``body_rate`` in bytes a second. Each holds to within ``check_interval``.

    head            of a request, from the connection or its first byte to its last (CIS nginx benchmark 5.2.1)
    idle            between two requests: longer than the 60 for which proxies in front keep a connection (nginx's
                    ``keepalive_timeout`` of an upstream, the load balancers of the clouds), so that no request of
                    theirs meets our close; JupyterLab asks every 10
    body_start      in which a request's body may come at any rate; afterwards ``body_rate`` is the least (Apache's
                    mod_reqtimeout has 20 and 500; what a notebook's page sends lies ready in its memory)
    body_pause      that a body which came fast before may stand still: a phone that changes its network
    unread          in which a visitor takes nothing of what waits for them (nginx ``send_timeout``)
    unread_tunnel   the same of a WebSocket: a page that does not read cannot answer Jupyter Server's ping either,
                    which ends a WebSocket after 90 (``ws_ping_timeout``); one on which nothing waits is never ended
    response_head   of a notebook's response, from its first byte to its last; it may take forever to begin
    linger          for what is still on its way after the last words (nginx ``lingering_timeout``)
    """

    head: float = 10.0
    idle: float = 75.0
    body_start: float = 10.0
    body_pause: float = 30.0
    body_rate: float = 1024.0
    unread: float = 60.0
    unread_tunnel: float = 90.0
    response_head: float = 30.0
    linger: float = 5.0
    check_interval: float = 1.0
