"""All measures by their command line names, and the check of their results."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from benchmarks import chaos, first_output, notebooks, parsers, proxying, security
from benchmarks.counts import Counts
from benchmarks.options import Options
from benchmarks.table import OURS, Row


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure. ``rows`` returns the number of rows that a run yields with these counts.

    ``--quick`` runs the same code with ``counts.QUICK``; ``faults`` checks its results.
    """

    run: Callable[[Options], AsyncIterator[Row]]
    rows: Callable[[Counts], int]

    def faults(self, rows: Sequence[Row], counts: Counts) -> list[str]:
        """Return a message for each number that is missing, not positive, or not the wanted count."""
        wanted = self.rows(counts)
        found = [] if len(rows) == wanted else [f"{len(rows)} of {wanted} rows came"]
        return found + [fault for row in rows if (fault := _fault(row))]


MEASURES = {
    "http-parsers": Measure(parsers.request_heads, lambda _counts: 1),
    "http": Measure(proxying.http, lambda _counts: 2),
    "websocket": Measure(proxying.websocket, lambda _counts: 6),
    "stream": Measure(proxying.stream, lambda _counts: 5),
    "click": Measure(notebooks.click, lambda _counts: 5),
    "first-output": Measure(first_output.first_output, lambda _counts: 2),
    "starts": Measure(notebooks.starts, lambda counts: 1 + len(counts.parallel_starts)),
    "idle": Measure(notebooks.idle, lambda _counts: 2),
    "security": Measure(security.security, lambda _counts: 1),
    "chaos": Measure(chaos.chaos, lambda _counts: 5),
}


def _fault(row: Row) -> str:
    value = row.value(OURS)
    if value is None:
        return f"{row.measure}: no number"
    if row.wanted is not None and value != row.wanted:
        return f"{row.measure}: {value:g} of {row.wanted:g}"
    if value <= 0 and not row.may_be_zero:
        return f"{row.measure}: {value:g} {row.unit}"
    return ""
