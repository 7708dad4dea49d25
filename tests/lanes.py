"""How pytest-xdist divides the tests among its processes.

A file of tests is run by one process. Three lanes are run by one process each, file by file, as their tests would
disturb each other: whole services on the machine's engine; single containers and images on it, with what measures the
engine's disk; and services whose notebooks are processes. They begin first, as they take longest.
"""

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

_ON_ENGINE = {"engine", "arch", "chaos"}
_BY_PROCESSES = {"process", "slow", "bench", "fronts"}
_SERVICES = ("tests/acceptance/", "tests/chaos/")
_MEASURES_DISK = "tests/acceptance/test_hostile_notebooks.py"
_MARK = re.compile(r"pytest\.mark\.(\w+)")
_ROOT = Path(__file__).parents[1]


class Lanes(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return lane_of(nodeid.partition("::")[0])


@cache
def lane_of(path: str) -> str:
    """Return the lane of a file of tests, by the marks that it has anywhere; its path if it may run beside any other."""
    marks = set(_MARK.findall((_ROOT / path).read_text(encoding="utf-8")))
    if marks & _ON_ENGINE:
        return "services" if path.startswith(_SERVICES) and path != _MEASURES_DISK else "containers"
    return "processes" if marks & _BY_PROCESSES else path
