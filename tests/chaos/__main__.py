"""Faults without end, or for some minutes; each round opens a service of another kind with the next seed."""

import argparse
import asyncio
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.outcome import Outcome
from tests.chaos.own_engine import OwnEngine, own_engine
from tests.chaos.schedule import steps
from tests.chaos.world import KINDS, world


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description="Let faults happen to a service.")
    parser.add_argument("--minutes", type=float, default=30, help="how long [30]")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the first round [any]")
    parser.add_argument("--kind", choices=KINDS, help="of the service [by chance, most often plain]")
    parser.add_argument(
        "--only", metavar="PATTERN", default="", help="only faults whose name this regular expression finds [all]"
    )
    given = parser.parse_args()
    try:
        return asyncio.run(_rounds(given.minutes * 60, given.seed, given.kind, given.only))
    except asyncio.CancelledError:
        return 130


async def _rounds(seconds: float, seed: int, kind: str | None, only: str) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    ends = time.monotonic() + seconds
    bad: list[str] = []
    ran: Counter[str] = Counter()
    async with own_engine() as engine:
        while time.monotonic() < ends:
            chosen = kind or random.Random(seed).choice([*KINDS, "plain", "plain"])
            print(f"--seed={seed} --kind='{chosen}'", flush=True)
            try:
                bad += await _round(engine, chosen, seed, only, ends, ran)
            except Exception:
                traceback.print_exc()
                bad.append(f"seed {seed}: {traceback.format_exc().splitlines()[-1]}")
                await engine.clear()
            seed += 1
    print(f"\n{ran.total()} faults in {seconds / 60:.0f} min")
    print("\n".join(bad) or "nothing was wrong")
    return 1 if bad else 0


async def _round(engine: OwnEngine, kind: str, seed: int, only: str, ends: float, ran: Counter[str]) -> list[str]:
    bad: list[str] = []
    with tempfile.TemporaryDirectory(prefix="tmppool-chaos-state-") as home:
        try:
            async with world(Path(home), engine, kind, seed) as made:
                for step in steps(seed, [fault for fault in FAULTS.values() if re.search(only, fault.name)], spread=1):
                    if time.monotonic() > ends:
                        break
                    await asyncio.sleep(step.quiet)
                    outcome = await made.endure(step.fault, step.seconds)
                    ran[step.fault.name] += 1
                    bad += _say(seed, outcome)
        finally:
            if bad:
                kept = Path(tempfile.mkdtemp(prefix=f"tmppool-chaos-{seed}-"))
                for log in Path(home).glob("*.log"):
                    (kept / log.name).write_bytes(log.read_bytes())
                print(f"  the service's log is in {kept}", flush=True)
    return bad


def _say(seed: int, outcome: Outcome) -> list[str]:
    print(f"  {outcome.line()}", flush=True)
    found = outcome.faults(slack=1)
    for fault in found:
        print(f"      {fault}", flush=True)
    for line in outcome.log if found else ():
        print(f"        {line[:200]}", flush=True)
    return [f"seed {seed}, {outcome.fault}: {fault}" for fault in found]


if __name__ == "__main__":
    sys.exit(main())
