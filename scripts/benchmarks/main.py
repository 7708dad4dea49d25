"""The command line: which measures to run, in what order, and what becomes of one that fails."""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import uvloop

from benchmarks import first_output, machine, notebooks, proxying, security, table
from benchmarks.options import Options
from benchmarks.peers import find_chp
from benchmarks.procs import BenchError
from benchmarks.table import Row

MEASURES: dict[str, Callable[[Options], AsyncIterator[Row]]] = {
    "http": proxying.http,
    "websocket": proxying.websocket,
    "stream": proxying.stream,
    "click": notebooks.click,
    "first-output": first_output.first_output,
    "starts": notebooks.starts,
    "idle": notebooks.idle,
    "security": security.security,
}
_LIMIT = 900  # seconds for one measure, whatever happens
_MAX_ROUNDS = 20
_MAX_SECONDS = 30


def main(words: list[str]) -> int:
    """Run; returns 1 when a bar is missed or a measure could not be finished."""
    given = _parse(words)
    try:
        chp = find_chp(given.chp, may_install=given.install_peers)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    facts = machine.facts(chp)
    print(machine.line(facts), flush=True)
    with tempfile.TemporaryDirectory(prefix="tmppool-bench-") as home:
        options = Options(Path(home), given.rounds, given.seconds, given.image, chp)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                rows, failures = runner.run(_all(given.which or list(MEASURES), options))
        except (KeyboardInterrupt, asyncio.CancelledError):
            sys.exit("bench: interrupted; all that was started is ended")
    print(table.render(rows))
    if given.write and not failures:
        security.write(rows, machine.line(facts))
    for failure in failures:
        print(failure)
    if given.json:
        found = {"machine": facts, "rows": [row.as_json() for row in rows], "failures": failures}
        given.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return 1 if failures or any(row.verdict == table.MISSED for row in rows) else 0


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure tmppool on this machine.")
    parser.add_argument("which", nargs="*", metavar="MEASURE", help=f"one of {', '.join(MEASURES)} (all)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every contender [5]")
    parser.add_argument("--seconds", type=float, default=3, help="length of one turn under load [3]")
    parser.add_argument("--image", default="tmppool/debian:latest", help="notebook image [tmppool/debian:latest]")
    parser.add_argument("--chp", metavar="PATH", help="the command configurable-http-proxy (the one on PATH)")
    parser.add_argument("--install-peers", action="store_true", help="install it with npm where it is missing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds there too")
    parser.add_argument("--write", action="store_true", help="put the figures of security into SPECIFICATION.md")
    given = parser.parse_args(words)
    unknown = [name for name in given.which if name not in MEASURES]
    if unknown:
        parser.error(f"{unknown[0]!r} is no measure: there are {', '.join(MEASURES)}")
    if given.write and given.which != ["security"]:
        parser.error("--write goes with the measure security alone")
    if not 1 <= given.rounds <= _MAX_ROUNDS or not 1 <= given.seconds <= _MAX_SECONDS:
        parser.error(f"--rounds is 1 to {_MAX_ROUNDS}, --seconds 1 to {_MAX_SECONDS}")
    return given


async def _all(names: list[str], options: Options) -> tuple[list[Row], list[str]]:
    """Run measures one after the other; one that fails leaves a sentence and the rows it had."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    rows: list[Row] = []
    failures = []
    for name in names:
        options.say(f"{name} …")
        try:
            async with asyncio.timeout(_LIMIT):
                async for row in MEASURES[name](options):
                    rows.append(row)  # noqa: PERF401 - those that came stay when a later one fails
        except TimeoutError:
            failures.append(f"{name}: not finished within {_LIMIT} s")
        except Exception as error:
            failures.append(f"{name}: not finished: {error if isinstance(error, BenchError) else repr(error)}")
        if failures and failures[-1].startswith(f"{name}:"):
            options.say(failures[-1])
    return rows, failures
