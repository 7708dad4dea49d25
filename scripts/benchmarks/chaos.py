"""Run the tests in which faults happen; what each fault did becomes rows, ``<fault>: <question>``."""

from collections.abc import AsyncIterator

from benchmarks import figures
from benchmarks.options import Options
from benchmarks.table import OURS, Row

_TESTS = "tests/chaos/test_chaos.py"
_QUICK_TEST = f"{_TESTS}::test_a_fault[plain-engine killed, live-restore]"
_QUESTIONS = ("lost", "given twice", "leaked", "known", "full again")
_MISSING = {"full again": "never"}


async def chaos(options: Options) -> AsyncIterator[Row]:
    """Let every fault of the tests happen, with ``--quick`` only one. Raises BenchError if a test fails."""
    tests = [_QUICK_TEST if options.is_quick else _TESTS]
    async for row in figures.of_tests(options, tests, "a fault did what it must not; what was measured is above"):
        yield row


def table(rows: list[Row]) -> str:
    """Return the table for SPECIFICATION.md, a line for each fault and a column for each question.

    What need not be known has no figure; what was not full again within the time of the tests was never.
    """
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        fault, _, question = row.measure.rpartition(": ")
        unit = f" {row.unit}" if row.unit == "s" else ""
        shown = f"{row.value(OURS):.1f}" if unit else f"{row.value(OURS):.0f}"
        found.setdefault(fault, {})[question] = f"{shown}{unit}"
    lines = [["fault", *_QUESTIONS], ["---"] * (len(_QUESTIONS) + 1)]
    lines += [
        [fault, *(asked.get(question, _MISSING.get(question, "")) for question in _QUESTIONS)]
        for fault, asked in found.items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
