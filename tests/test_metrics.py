"""Counters from transitions, gauges from the pools."""

import asyncio
import re
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from tests.notebooks import notebook_of
from tmppool.metrics import CONTENT_TYPE, Metrics
from tmppool.notebook import Reason, State
from tmppool.pool import Pool

Factory = Callable[..., Pool]
Samples = dict[tuple[str, ...], float]


def read(metrics: Metrics) -> Samples:
    """Every sample by its name and its labels' values."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def lived(metrics: Metrics, *moves: tuple[State, Reason, float]) -> None:
    notebook = notebook_of("k" * 22, "main", 0.0)
    for to, reason, now in moves:
        metrics.hear(notebook.move(to, reason, now))


def test_every_transition_is_counted_by_pool_state_and_reason() -> None:
    metrics = Metrics(list)
    for _ in range(2):
        lived(metrics, (State.WARM, Reason.READY, 1.0), (State.ASSIGNED, Reason.CLICK, 2.0))
    lived(metrics, (State.GONE, Reason.FAILED, 1.0))
    found = {labels: value for labels, value in read(metrics).items() if labels[0] == "tmppool_transitions_total"}
    assert found == {
        ("tmppool_transitions_total", "main", "ready", "warm"): 2.0,
        ("tmppool_transitions_total", "main", "click", "assigned"): 2.0,
        ("tmppool_transitions_total", "main", "failed", "gone"): 1.0,
    }


def test_how_long_starts_and_sessions_took() -> None:
    metrics = Metrics(list)
    lived(
        metrics,
        (State.WARM, Reason.READY, 1.5),
        (State.ASSIGNED, Reason.CLICK, 10.0),
        (State.REAPING, Reason.IDLE, 710.0),
        (State.GONE, Reason.IDLE, 711.0),
    )
    found = read(metrics)
    assert found["tmppool_start_seconds_count", "main"] == 1
    assert found["tmppool_start_seconds_sum", "main"] == 1.5
    assert found["tmppool_start_seconds_bucket", "1.0", "main"] == 0
    assert found["tmppool_start_seconds_bucket", "2.0", "main"] == 1
    assert found["tmppool_session_seconds_count", "main", "idle"] == 1
    assert found["tmppool_session_seconds_sum", "main", "idle"] == 700.0


def test_an_adoption_is_no_start() -> None:
    metrics = Metrics(list)
    lived(metrics, (State.WARM, Reason.ADOPTED, 0.0))
    assert ("tmppool_start_seconds_count", "main") not in read(metrics)


async def test_gauges_are_read_from_the_pools_at_the_scrape(pool: Factory) -> None:
    one = pool("one", capacity=3, warm=2)
    metrics = Metrics(lambda: [one])

    def gauges() -> dict[str, float]:
        found = read(metrics)
        assert found["tmppool_capacity", "one"] == 3
        return {state.value: found["tmppool_notebooks", "one", state.value] for state in State if state != "gone"}

    assert gauges() == {"starting": 0, "warm": 0, "assigned": 0, "reaping": 0}
    one.tick()
    assert gauges() == {"starting": 2, "warm": 0, "assigned": 0, "reaping": 0}
    async with asyncio.timeout(10):
        while one._work:
            await asyncio.sleep(0)
    assert gauges() == {"starting": 0, "warm": 2, "assigned": 0, "reaping": 0}
    notebook = one.assign(None)
    one.assign(None)
    one.reap(notebook, Reason.ENDED)
    assert gauges() == {"starting": 0, "warm": 0, "assigned": 1, "reaping": 1}


def test_two_services_in_one_process_count_apart() -> None:
    one, two = Metrics(list), Metrics(list)
    lived(one, (State.WARM, Reason.READY, 1.0))
    assert ("tmppool_start_seconds_count", "main") in read(one)
    assert ("tmppool_start_seconds_count", "main") not in read(two)


def test_the_content_type_is_that_of_the_text_format() -> None:
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


METRICS = {
    "tmppool_notebooks": ("gauge", {"pool", "state"}),
    "tmppool_capacity": ("gauge", {"pool"}),
    "tmppool_transitions": ("counter", {"pool", "to", "reason"}),
    "tmppool_start_seconds": ("histogram", {"pool"}),
    "tmppool_session_seconds": ("histogram", {"pool", "reason"}),
}
"""Each metric's type and labels. Dashboards and alarms rest on them; whatever is added stands here too."""


async def test_the_metrics_are_these_and_each_says_what_it_counts(pool: Factory) -> None:
    one = pool("main")
    metrics = Metrics(lambda: [one])
    lived(
        metrics,
        (State.WARM, Reason.READY, 1.5),
        (State.ASSIGNED, Reason.CLICK, 10.0),
        (State.REAPING, Reason.IDLE, 710.0),
        (State.GONE, Reason.IDLE, 711.0),
    )
    families = {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}
    derived = {name for name in families if name.endswith("_created")}  # prometheus-client's own, of each it counts
    assert set(families) - derived == set(METRICS)
    for name, (kind, labels) in METRICS.items():
        family = families[name]
        assert (family.type, {label for sample in family.samples for label in sample.labels} - {"le"}) == (kind, labels)
        assert re.fullmatch(r"[A-Z].{9,}", family.documentation), name
