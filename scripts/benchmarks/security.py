"""Run the security tests that record figures; each figure becomes a row."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.options import Options
from benchmarks.procs import BenchError
from benchmarks.table import OURS, Bar, Row

_ROOT = Path(__file__).resolve().parents[2]
_BEGIN, _END = "<!-- figures: scripts/bench security --write -->", "<!-- end of figures -->"

_QUICK_TEST = "tests/acceptance/test_sockets.py::test_a_message_of_64_megabytes_each_way_takes_no_more_than_2_of_memory"


async def security(options: Options) -> AsyncIterator[Row]:
    """Run every test that records a figure, with ``--quick`` only one of them.

    Raises BenchError, after the rows, if a test fails.
    """
    noted = options.home / "figures.jsonl"
    noted.touch()
    command = (sys.executable, "-m", "pytest", "-q", "--no-header", *([_QUICK_TEST] if options.is_quick else _tests()))
    environment = {**os.environ, "TMPPOOL_FIGURES": str(noted)}
    child = await asyncio.create_subprocess_exec(*command, cwd=_ROOT, env=environment, stdout=sys.stderr)
    try:
        status = await child.wait()
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()
    for line in noted.read_text().splitlines():
        facts = json.loads(line)
        row = Row(facts["name"], facts["unit"], _bar(facts["at_most"], facts["at_least"]), may_be_zero=True)
        row.add(OURS, facts["value"])
        yield row
    if status:
        raise BenchError("a security test failed; what it measured is above")


def _bar(at_most: float | None, at_least: float | None) -> Bar | None:
    if at_least is not None:
        return Bar(at_least)
    return None if at_most is None else Bar(at_most, at_least=False)


def write(rows: list[Row], machine: str) -> None:
    """Write the figures into SPECIFICATION.md, between its two markers."""
    path = _ROOT / "SPECIFICATION.md"
    before, _, rest = path.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    lines = [f"| {row.measure} | {row.shown(OURS)} {row.unit} | {row.bar or ''} |" for row in rows]
    table = "\n".join(["| figure | measured | bar |", "| --- | --- | --- |", *lines])
    path.write_text(f"{before}{_BEGIN}\n\nMeasured on: {machine}\n\n{table}\n\n{_END}{after}")


def _tests() -> list[str]:
    """Return every test file that uses the ``figure`` fixture."""
    files = sorted((_ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(_ROOT)) for path in files if "figure: Figure" in path.read_text()]
