"""What the security tests measure: they are run, and the figures that they note become rows."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.options import Options
from benchmarks.procs import BenchError
from benchmarks.table import OURS, Bar, Row

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- figures: scripts/bench security --write -->", "<!-- end of figures -->"


async def security(options: Options) -> AsyncIterator[Row]:
    """Run every test that notes a figure. Raises BenchError, after the rows, when a test fails."""
    noted = options.home / "figures.jsonl"
    noted.touch()
    command = (sys.executable, "-m", "pytest", "-q", "--no-header", *_tests())
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
        bar = None if facts["at_most"] is None else Bar(facts["at_most"], at_least=False)
        row = Row(facts["name"], facts["unit"], bar)
        row.add(OURS, facts["value"])
        yield row
    if status:
        raise BenchError("a security test failed; what it measured is above")


def write(rows: list[Row], machine: str) -> None:
    """Put the figures into SPECIFICATION.md, between its two marks."""
    path = ROOT / "SPECIFICATION.md"
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = [f"| {row.measure} | {row.shown(OURS)} {row.unit} | {row.bar or ''} |" for row in rows]
    table = "\n".join(["| figure | measured | bar |", "| --- | --- | --- |", *lines])
    path.write_text(f"{before}{BEGIN}\n\nMeasured on: {machine}\n\n{table}\n\n{END}{after}")


def _tests() -> list[str]:
    """Every test file of the suite that asks for the ``figure`` fixture."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in files if "figure: Figure" in path.read_text()]
