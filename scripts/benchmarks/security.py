"""Run the security tests that record figures; each figure becomes a row."""

from collections.abc import AsyncIterator

from benchmarks import figures
from benchmarks.options import Options
from benchmarks.table import OURS, Row

_QUICK_TEST = "tests/acceptance/test_sockets.py::test_a_message_of_64_megabytes_each_way_takes_no_more_than_2_of_memory"


async def security(options: Options) -> AsyncIterator[Row]:
    """Run every security test that records a figure, with ``--quick`` only one of them.

    Raises BenchError, after the rows, if a test fails.
    """
    tests = [_QUICK_TEST] if options.is_quick else _tests()
    async for row in figures.of_tests(options, tests, "a security test failed; what it measured is above"):
        yield row


def table(rows: list[Row]) -> str:
    """Return the table for SPECIFICATION.md, a line for each figure."""
    lines = [f"| {row.measure} | {row.shown(OURS)} {row.unit} | {row.bar or ''} |" for row in rows]
    return "\n".join(["| figure | measured | bar |", "| --- | --- | --- |", *lines])


def _tests() -> list[str]:
    """Return every test file that uses the ``figure`` fixture, except those of faults."""
    files = sorted((figures.ROOT / "tests").rglob("test_*.py"))
    used = [path.relative_to(figures.ROOT) for path in files if "figure: Figure" in path.read_text()]
    return [str(path) for path in used if path.parts[1] != "chaos"]
