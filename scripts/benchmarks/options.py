"""What the operator asked of this run."""

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """``home`` is this run's own directory; ``seconds`` is the length of one turn under load."""

    home: Path
    rounds: int
    seconds: float
    image: str
    chp: str | None

    @staticmethod
    def say(text: str, end: str = "\n") -> None:
        """Tell the operator how far it is."""
        sys.stderr.write(text + end)
        sys.stderr.flush()
