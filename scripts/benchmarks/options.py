"""The options of one run, passed to every measure."""

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.counts import Counts


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one run.

    ``home`` is this run's own directory. ``seconds`` is the length of one turn under load. ``chp`` is the path of
    configurable-http-proxy, None if it is not installed. ``is_quick``: a smoke test, which runs every measure once with
    tiny counts.
    """

    home: Path
    rounds: int
    seconds: float
    image: str
    chp: str | None
    counts: Counts
    is_quick: bool

    @staticmethod
    def say(text: str, end: str = "\n") -> None:
        """Write progress to standard error."""
        sys.stderr.write(text + end)
        sys.stderr.flush()
