"""The amount of work of each measure: FULL for results, QUICK for a smoke test."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """The amounts of all measures. Times are in seconds, sizes in bytes."""

    heads: int  # request heads that each parser reads per turn
    connections: int  # HTTP connections of wrk, kept alive
    sockets: int  # WebSockets of the ping-pong
    bulk_sockets: int  # WebSockets of the bulk transfers
    warm_up: float  # before the messages of WebSockets are counted
    pause: float  # between two contenders
    body: int  # of a long upload or download
    stall: float  # time in which a client does not read
    clickers: int  # visitors who click at once, and the size of their pool
    series: int  # series of visitors who click in turn, each with a full pool
    clicks: int  # visitors in each series
    least_rounds: int  # minimum rounds of the browser for a meaningful median
    settle: float  # time for a warm notebook or an idle service to settle
    started: int  # notebooks whose start is timed
    parallel_starts: tuple[int, ...]  # values of --parallel-starts to compare with the default
    idlers: int  # warm notebooks of the idle service
    watched: float  # time of idling that is measured


FULL = Counts(
    heads=20_000,
    connections=32,
    sockets=64,
    bulk_sockets=4,
    warm_up=0.5,
    pause=0.3,
    body=10**9,
    stall=3.0,
    clickers=50,
    series=2,
    clicks=40,
    least_rounds=5,
    settle=3.0,
    started=20,
    parallel_starts=(2, 4, 6),
    idlers=30,
    watched=30.0,
)
QUICK = Counts(
    heads=200,
    connections=2,
    sockets=2,
    bulk_sockets=1,
    warm_up=0.05,
    pause=0.0,
    body=10**7,
    stall=0.2,
    clickers=2,
    series=1,
    clicks=1,
    least_rounds=1,
    settle=0.1,
    started=2,
    parallel_starts=(2,),
    idlers=1,
    watched=1.0,
)
