"""The answers to the questions after a fault; pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

KNOWN_WITHIN = 5.0  # seconds from the begin of a fault until the health says it
FULL_WITHIN = 15.0  # seconds from its end until all is healthy and as many notebooks are warm as wanted
SLACK = 3  # multiple of these where other work shares the machine


@dataclass
class Outcome:
    """What a fault did.

    ``known`` and ``full`` are in seconds, None for never; ``name`` is the check of the health that failed first, and
    ``words`` its message; ``told`` is what a visitor read whose session has ended, ``log`` what the service warned of. The
    others are sentences, one for each thing that is wrong.
    """

    fault: str
    must_be_known: bool = False
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    known: float | None = None
    name: str = ""
    words: str = ""
    full: float | None = None
    told: str = ""
    log: list[str] = field(default_factory=list)

    def faults(self, slack: float = SLACK) -> list[str]:
        """Return a sentence for everything that is not as it must be."""
        found = [f"lost: {each}" for each in self.lost]
        found += [f"given twice: {each}" for each in self.twice]
        found += [f"leaked: {each}" for each in self.leaked]
        found += self.wrong
        if self.must_be_known:
            found += _late("the health said nothing", "known", self.known, KNOWN_WITHIN * slack)
        return found + _late("it was never full again", "full again", self.full, FULL_WITHIN * slack)

    def line(self) -> str:
        """Return the outcome on one line."""
        known = "never" if self.known is None else f"{self.known:.1f} s ({self.name})"
        full = "never" if self.full is None else f"{self.full:.1f} s"
        counts = f"lost {len(self.lost)}, twice {len(self.twice)}, leaked {len(self.leaked)}, wrong {len(self.wrong)}"
        return f"{self.fault}: {counts}, known {known if self.must_be_known or self.name else '-'}, full again {full}"


def warnings(log: str) -> list[str]:
    """Return the events of level warning and error in the lines of a log, each once, with what they are about."""
    found = [json.loads(line) for line in log.splitlines() if line.startswith("{") and line.endswith("}")]
    wanted = [event for event in found if event["level"] in ("warning", "error")]
    about = ("reason", "error", "message")
    lines = [" ".join([event["event"], *(str(event[name]) for name in about if event.get(name))]) for event in wanted]
    return list(dict.fromkeys(lines))


def _late(never: str, what: str, seconds: float | None, limit: float) -> list[str]:
    if seconds is None:
        return [never]
    return [f"{what} after {seconds:.1f} s, more than {limit:g}"] if seconds > limit else []


def given_twice(keys: Sequence[str]) -> list[str]:
    """Return a sentence for each key that was given more than once; ``keys`` are all that were ever given."""
    return [f"one notebook to {keys.count(key)} visitors" for key in sorted(set(keys)) if keys.count(key) > 1]
