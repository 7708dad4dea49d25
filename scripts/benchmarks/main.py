"""The command line: run the chosen measures in order, and report failures."""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks import chaos, figures, machine, security, table
from benchmarks.counts import FULL, QUICK
from benchmarks.measures import MEASURES
from benchmarks.options import Options
from benchmarks.peers import HOW_TO_INSTALL, find_chp
from benchmarks.procs import BenchError
from benchmarks.table import Row

_WRITTEN = {"security": security.table, "chaos": chaos.table}  # measures in SPECIFICATION.md, and their tables
_LIMIT = 900  # timeout of one measure, in seconds
_QUICK_LIMIT = 120  # the same with --quick
_QUICK_SECONDS = 0.3
_MAX_ROUNDS = 20
_MAX_SECONDS = 30


@dataclass(slots=True)
class Result:
    """The result of one measure: its rows, and a message for each failure."""

    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def main(words: list[str]) -> int:
    """Run the benchmarks; return 1 if a bar is missed or a measure was not finished."""
    given = _parse(words)
    try:
        chp = find_chp(given.chp, may_install=given.install_peers)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    facts = machine.facts(chp)
    print(machine.line(facts), flush=True)
    names = given.which or list(MEASURES)
    with tempfile.TemporaryDirectory(prefix="tmppool-bench-") as home:
        rounds, seconds, counts = (1, _QUICK_SECONDS, QUICK) if given.quick else (given.rounds, given.seconds, FULL)
        options = Options(Path(home), rounds, seconds, given.image, chp, counts, given.quick)
        results = {name: Result() for name in names}
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_all(results, options))
        except (KeyboardInterrupt, asyncio.CancelledError):
            sys.exit("bench: interrupted; all that was started is ended")
    _print(results, options)
    failures = [f"{name}: {failure}" for name, result in results.items() for failure in result.failures]
    if given.write and not failures:
        (name,) = names
        figures.write(name, _WRITTEN[name](results[name].rows), machine.line(facts))
    for failure in failures:
        print(failure)
    if given.json:
        rows = [{"of": name, **row.as_json()} for name, result in results.items() for row in result.rows]
        found = {"machine": facts, "rows": rows, "failures": failures}
        given.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    is_missed = any(row.verdict == table.MISSED for result in results.values() for row in result.rows)
    return 1 if failures or (is_missed and not given.quick) else 0


def _print(results: dict[str, Result], options: Options) -> None:
    """Print a table for each measure, and how to install each missing peer."""
    rounds = "1 round" if options.rounds == 1 else f"{options.rounds} rounds"
    missing: dict[str, None] = {}
    for name, result in results.items():
        if result.rows:
            print(f"\n{name}: medians of {rounds}; a ratio is the median of the rounds' ratios\n")
            print(table.render(result.rows, with_bars=not options.is_quick))
            missing |= dict.fromkeys(who for row in result.rows for who in row.missing)
    print()
    for who in missing:
        print(f"{who} was not measured: {HOW_TO_INSTALL[who]}.")


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure tmppool on this machine.")
    parser.add_argument("which", nargs="*", metavar="MEASURE", help=f"one of {', '.join(MEASURES)} (all)")
    parser.add_argument("--quick", action="store_true", help="run each measure with tiny counts to see that it works")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every contender [5]")
    parser.add_argument("--seconds", type=float, default=3, help="length of one turn under load [3]")
    parser.add_argument("--image", default="tmppool/debian:latest", help="notebook image [tmppool/debian:latest]")
    parser.add_argument("--chp", metavar="PATH", help="the command configurable-http-proxy (the one on PATH)")
    parser.add_argument("--install-peers", action="store_true", help="install it with npm where it is missing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds there too")
    parser.add_argument(
        "--write", action="store_true", help="put the figures of security or chaos into SPECIFICATION.md"
    )
    given = parser.parse_args(words)
    unknown = [name for name in given.which if name not in MEASURES]
    if unknown:
        parser.error(f"{unknown[0]!r} is no measure: there are {', '.join(MEASURES)}")
    if given.write and (given.quick or len(given.which) != 1 or given.which[0] not in _WRITTEN):
        parser.error(f"--write goes with one of the measures {' and '.join(_WRITTEN)} alone, in full")
    if not 1 <= given.rounds <= _MAX_ROUNDS or not 1 <= given.seconds <= _MAX_SECONDS:
        parser.error(f"--rounds is 1 to {_MAX_ROUNDS}, --seconds 1 to {_MAX_SECONDS}")
    return given


async def _all(results: dict[str, Result], options: Options) -> None:
    """Run the measures in order. One that fails records a message and keeps the rows it has."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    limit = _QUICK_LIMIT if options.is_quick else _LIMIT
    for name, result in results.items():
        options.say(f"{name} …")
        try:
            async with asyncio.timeout(limit):
                async for row in MEASURES[name].run(options):
                    result.rows.append(row)
        except TimeoutError:
            result.failures.append(f"not finished within {limit} s")
        except Exception as error:
            result.failures.append(f"not finished: {error if isinstance(error, BenchError) else repr(error)}")
        else:
            result.failures += MEASURES[name].faults(result.rows, options.counts) if options.is_quick else []
        for failure in result.failures:
            options.say(f"{name}: {failure}")
