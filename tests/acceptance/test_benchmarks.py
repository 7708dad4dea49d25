"""Each measure of scripts/bench runs to its end with real parts, in its quick form, and gives the numbers it is for."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.measures import MEASURES

ROOT = Path(__file__).parents[2]
IN_CONTAINERS = {"click", "first-output", "starts", "idle", "security", "chaos"}
IN_A_BROWSER = {"first-output"}


def marks(measure: str) -> list[pytest.MarkDecorator]:
    found = [pytest.mark.bench]
    if measure in IN_CONTAINERS:
        found.append(pytest.mark.engine)
    if measure == "chaos":
        found.append(pytest.mark.chaos)
    if measure in IN_A_BROWSER:
        found.append(pytest.mark.browser)
    return found


@pytest.mark.parametrize("measure", [pytest.param(name, marks=marks(name)) for name in MEASURES])
def test_a_measure_gives_its_numbers(measure: str) -> None:
    """Counts must be as asked and numbers positive; how fast they are is no matter here."""
    command = [sys.executable, str(ROOT / "scripts/bench"), "--quick", measure]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
