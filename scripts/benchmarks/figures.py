"""Run tests that record figures; each figure becomes a row. Write tables between markers in SPECIFICATION.md."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from benchmarks.options import Options
from benchmarks.procs import BenchError
from benchmarks.table import OURS, Bar, Row

ROOT = Path(__file__).resolve().parents[2]


async def of_tests(options: Options, tests: Sequence[str], failed: str) -> AsyncIterator[Row]:
    """Run ``tests``, in pytest's notation. Raises BenchError with ``failed``, after the rows, if one fails."""
    noted = options.home / "figures.jsonl"
    noted.write_text("")
    command = (sys.executable, "-m", "pytest", "-q", "--no-header", *tests)
    environment = {**os.environ, "TMPPOOL_FIGURES": str(noted)}
    child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=sys.stderr)
    try:
        status = await child.wait()
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()
    for line in noted.read_text().splitlines():
        facts = json.loads(line)
        row = Row(facts["name"], facts["unit"], bar(facts["at_most"], facts["at_least"]), may_be_zero=True)
        row.add(OURS, facts["value"])
        yield row
    if status:
        raise BenchError(failed)


def bar(at_most: float | None, at_least: float | None) -> Bar | None:
    if at_least is not None:
        return Bar(at_least)
    return None if at_most is None else Bar(at_most, at_least=False)


def write(measure: str, table: str, machine: str) -> None:
    """Write ``table`` into SPECIFICATION.md, between the two markers of ``measure``."""
    path = ROOT / "SPECIFICATION.md"
    begin, end = f"<!-- figures: scripts/bench {measure} --write -->", "<!-- end of figures -->"
    before, _, rest = path.read_text().partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n\nMeasured on: {machine}\n\n{table}\n\n{end}{after}")
