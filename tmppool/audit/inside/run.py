"""Run all probes in order; print one line of JSON for each."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from tmppool.audit.inside import calls, files, limits, network, privileges

if TYPE_CHECKING:
    from tmppool.audit.inside.outcome import Facts, Probe


def probes(facts: Facts) -> list[Probe]:
    """Return all probes as names and callables. ``facts`` is the result of ``expectations.facts``."""
    rooms = (privileges, calls, files, limits, network)
    return [probe for room in rooms for probe in room.probes(facts)]


def main(facts: Facts) -> None:
    """Run and report every probe; the last line confirms that all were run."""
    for name, probe in probes(facts):
        try:
            held, detail = probe()
        except Exception as error:
            held, detail = False, f"the probe itself failed: {error!r}"
        _report(name, held=held, detail=detail)
    _report("canary", held=True, detail="all probes were run")


def _report(name: str, *, held: bool, detail: str) -> None:
    sys.stdout.write(json.dumps({"name": name, "held": held, "detail": detail}) + "\n")
    sys.stdout.flush()
