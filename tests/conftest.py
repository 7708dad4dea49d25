"""What every test may use, and the honest account of what could not run here.

``--fast`` leaves out the groups that need more than Python. Without it everything runs: a test whose group cannot run
on this machine fails where ``CI`` is set, else it is skipped, and the last lines say that this was not everything.
"""

import asyncio
import importlib.util
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest
import structlog
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, settings
from xdist.remote import Producer

from tests.lanes import Lanes
from tests.specs import spec_of
from tmppool import clocks, log, recipes
from tmppool.backends import engine
from tmppool.backends.fake import FakeBackend
from tmppool.policy import Limits
from tmppool.pool import Listener, Pool

settings.register_profile("tmppool", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tmppool")
structlog.configure(processors=[structlog.processors.KeyValueRenderer()])  # no tracebacks with files to read

GROUPS = ("engine", "browser", "process", "slow", "corpus", "arch", "bench", "fronts", "chaos", "clients", "engines")
PROGRAMS = {
    "arch": ("pacstrap", "pacman-key", "makepkg", "repo-add", "fakeroot", "bsdtar", "gpg"),
    "slow": ("slowhttptest",),
    "bench": ("nginx", "wrk"),
    "fronts": ("nginx", "haproxy", "caddy", "openssl", "curl"),
    "engines": ("chromedriver", "firefox-esr", "WebKitWebDriver", "Xvfb", "npm", "nginx", "openssl"),
    "chaos": ("dockerd", "docker", "containerd", "ip", "mkfs.ext4", "mount", "faketime"),
}
FETCHED = Path(__file__).parent / "clients/.has"
AS_ROOT = {"arch": "making a file system from packages takes root", "chaos": "an engine of the tests' own takes root"}
_lacking: dict[str, str] = {}


@cache
def lacks(group: str) -> str:
    """Return why the tests of this group cannot run here; empty when they can."""
    if group == "process":
        return "" if importlib.util.find_spec("jupyterlab") else "jupyterlab is not installed"
    if group == "browser":
        has_browser = importlib.util.find_spec("playwright") and shutil.which("chromium")
        return "" if has_browser else "playwright or Chromium is not installed"
    if group == "corpus":
        return ""
    if group == "clients":
        return "" if FETCHED.exists() else "the clients are not here (scripts/clients fetches them)"
    if group in AS_ROOT and os.geteuid() != 0:
        return AS_ROOT[group]
    if group in PROGRAMS:
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        absent = [tool for tool in PROGRAMS[group] if not shutil.which(tool, path=path)]
        return f"{' and '.join(absent)} not installed (scripts/packages does it)" if absent else ""
    return "" if asyncio.run(engine.answers()) else "no Docker Engine answers (scripts/engine starts one)"


def unavailable(group: str, reason: str) -> NoReturn:
    """End a test that cannot run here: a failure in CI, elsewhere a skip that the summary counts."""
    _lacking[group] = reason
    if os.environ.get("CI"):
        pytest.fail(f"{group}: {reason}", pytrace=False)
    pytest.skip(f"{group}: {reason}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help=f"leave out the tests marked {', '.join(GROUPS)}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--fast"):
        left_out = [item for item in items if any(item.get_closest_marker(group) for group in GROUPS)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Lanes:
    return Lanes(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that prints the summary, where this is one of several that run tests."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["lacking"] = _lacking


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _lacking.update(getattr(node, "workeroutput", {}).get("lacking", {}))  # none of one that crashed


def pytest_runtest_setup(item: pytest.Item) -> None:
    for group in GROUPS:
        if item.get_closest_marker(group) and (reason := lacks(group)):
            unavailable(group, reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = dict.fromkeys(GROUPS, "left out by --fast") if config.getoption("--fast") else {}
    for group, reason in (_lacking | left_out).items():
        terminalreporter.write_line(f"could not run: {group}: {reason}", yellow=True)
    if _lacking or left_out:
        terminalreporter.write_line("This is not a pass of everything.", yellow=True, bold=True)


@pytest.fixture(autouse=True)
def _no_blocking_calls() -> Iterator[None]:
    """A call in tmppool that blocks the loop fails the test."""
    with blockbuster_ctx("tmppool"):
        yield


_TIMES = ("x quiet", "ms")  # units of figures
_SLACK = 3


class Figure(Protocol):
    def __call__(
        self, name: str, value: float, unit: str, *, at_most: float | None = None, at_least: float | None = None
    ) -> None:
        """Note what was measured; in the end the test fails if it is above ``at_most``, or below ``at_least``."""


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Iterator[Figure]:
    """Note figures in the file that TMPPOOL_FIGURES names, one JSON object a line: scripts/bench reads it.

    Those that miss their bars are told at the end of the test, so that all of them are noted. scripts/bench has the
    machine for itself; without it, other work slows both sides of a comparison, and times have a multiple of the bar.
    """
    missed: list[str] = []

    def note(
        name: str, value: float, unit: str, *, at_most: float | None = None, at_least: float | None = None
    ) -> None:
        path = os.environ.get("TMPPOOL_FIGURES")
        if path:
            bars = {"at_most": at_most, "at_least": at_least}
            facts = {"name": name, "value": value, "unit": unit, **bars, "test": request.node.nodeid}
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(facts) + "\n")
        slack = 1 if path or unit not in _TIMES else _SLACK
        if at_most is not None and value > at_most * slack:
            missed.append(f"{name}: {value:.3g} {unit}, more than {at_most:g}")
        if at_least is not None and value < at_least:
            missed.append(f"{name}: {value:.3g} {unit}, less than {at_least:g}")

    yield note
    if missed:
        pytest.fail("\n".join(missed), pytrace=False)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Hours:
    """Lets time pass for the ledger."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead, genuine = 0.0, clocks.since_boot
        monkeypatch.setattr(clocks, "since_boot", lambda: genuine() + self._ahead)

    def go_by(self, number: float) -> None:
        self._ahead += number * 3600.0


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Hours:
    return Hours(monkeypatch)


@pytest.fixture
async def backend() -> AsyncIterator[FakeBackend]:
    made = FakeBackend(spec_of())
    yield made
    await made.end_all()


@pytest.fixture
async def pool(backend: FakeBackend, clock: Clock) -> AsyncIterator[Callable[..., Pool]]:
    """Make pools on the fake backend; keywords are those of Limits."""
    made = []

    def make(name: str = "main", listeners: Iterable[Listener] = (), **limits: float) -> Pool:
        known = {"capacity": 4, "warm": 2, "idle": 600.0, "lifetime": 3600.0, "parallel_starts": 8}
        bounds, told = Limits(**(known | limits)), [log.hear_incident]
        made.append(Pool(name, backend, [backend.edition], bounds, listeners, clock, incident_listeners=told))
        made[-1].open()
        return made[-1]

    yield make
    backend.is_ill = False
    for each in made:
        await each.close(stop=True, grace=0.1)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of recipes that holds one, ``toy``; the environment has nothing to say about builds."""
    for name in ("PIP_INDEX_URL", *recipes.CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "images"
    toy = root / "toy"
    (toy / "home").mkdir(parents=True)
    (toy / "base").write_text("#!/bin/sh\n")
    (toy / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    (toy / "home" / "a.txt").write_text("a")
    (root / "no-recipe").mkdir()
    monkeypatch.setattr(recipes, "images_dir", lambda: root)
    return root
