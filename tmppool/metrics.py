"""Counters of transitions, and gauges that are read from the pools at each scrape, so they cannot drift."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tmppool.notebook import Reason, State, Transition
from tmppool.pool import Pool

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_START_BUCKETS = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 60, 120)
_SESSION_BUCKETS = (10, 60, 300, 900, 1800, 3600, 7200, 14400, 28800)


class Metrics:
    """The service's metrics; ``pools`` is called at each scrape."""

    def __init__(self, pools: Callable[[], Iterable[Pool]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Gauges(pools))
        self._transitions = Counter(
            "tmppool_transitions", "State transitions of notebooks", ["pool", "to", "reason"], registry=self._registry
        )
        self._starts = Histogram(
            "tmppool_start_seconds",
            "Seconds from the start of a notebook until it was warm",
            ["pool"],
            buckets=_START_BUCKETS,
            registry=self._registry,
        )
        self._sessions = Histogram(
            "tmppool_session_seconds",
            "Seconds from assignment to reap",
            ["pool", "reason"],
            buckets=_SESSION_BUCKETS,
            registry=self._registry,
        )

    def hear(self, fact: Transition) -> None:
        """Listener: count the transition; observe the duration of a start or a session."""
        pool = fact.notebook.pool
        self._transitions.labels(pool, fact.to.value, fact.reason.value).inc()
        if fact.reason is Reason.READY:
            self._starts.labels(pool).observe(fact.waited)
        elif fact.was is State.ASSIGNED:
            self._sessions.labels(pool, fact.reason.value).observe(fact.waited)

    def render(self) -> bytes:
        """Return the metrics in Prometheus' text format (Prometheus documentation, exposition formats)."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    def __init__(self, pools: Callable[[], Iterable[Pool]]) -> None:
        self._pools = pools

    def collect(self) -> Iterable[Metric]:
        """Return the gauges' current values (prometheus_client, custom collectors)."""
        notebooks = GaugeMetricFamily("tmppool_notebooks", "Notebooks by state", labels=["pool", "state"])
        capacity = GaugeMetricFamily("tmppool_capacity", "Maximum number of notebooks", labels=["pool"])
        for pool in self._pools():
            for state in (State.STARTING, State.WARM, State.ASSIGNED, State.REAPING):
                notebooks.add_metric([pool.name, state.value], pool.count(state))
            capacity.add_metric([pool.name], pool.limits.capacity)
        yield notebooks
        yield capacity
