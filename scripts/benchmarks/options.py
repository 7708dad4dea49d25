"""The options of one run, as every measure gets them."""

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.counts import Counts


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one run.

    ``home`` is a directory of this run alone. ``seconds`` is the length of one turn under load. ``chp`` is the path of
    configurable-http-proxy, None where it is not installed. ``is_quick``: every measure once, with tiny counts, to see
    that it works.
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
