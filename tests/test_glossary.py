"""The names in the code, the log, the metrics and the ledger are the glossary's, and the log's events are documented."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tmppool import log
from tmppool.notebook import Reason, State

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tmppool"
GLOSSARY = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
EVENTS = (ROOT / "docs/log-events.md").read_text(encoding="utf-8")

THEIRS = {"cull_timeout", "cull_max", "cull_period", "available", "_WORKSPACE"}
"""Names that somebody else has given: tmpnb's options and statistics, JupyterLab's workspaces."""

LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
BY_STATE = {f"notebook.{state}" for state in State} - {"notebook.starting"}
BY_PROGRESS = {"pool.warming", "pool.warmed"}
"""Events whose names are made at run time, in log.py."""


def rows() -> list[list[str]]:
    """Return the glossary's rows of at least two cells, without the heads of its tables."""
    found = [line.strip("| ").split("|") for line in GLOSSARY.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in cells] for cells in found if cells[0].strip() not in ("word", "---")]


def words() -> set[str]:
    return {word.strip() for cells in rows() for word in cells[0].split(",")}


def forbidden() -> set[str]:
    """Return the words in code font in the third column."""
    return {word for cells in rows() if len(cells) > 2 for word in re.findall(r"`([a-z_]+)`", cells[2])}


def names(tree: ast.AST) -> Iterator[str]:
    """Yield each name that a module gives: functions, classes, arguments, variables, attributes that it assigns."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def events(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield name and level of each event that a module logs under a constant name."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and (node.func.value.id, node.func.attr in LEVELS) == ("_log", True)
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value), "error" if node.func.attr == "exception" else node.func.attr


def outside_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module gives to metrics and to the ledger's columns."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"tmppool_[a-z_]+", node.value):
                yield node.value
            if node.value.lstrip().startswith("CREATE TABLE"):
                yield from re.findall(r"(\w+) (?:TEXT|REAL|INTEGER|BLOB)", node.value)


def parts(name: str) -> str:
    """Return ``name`` in lower case with an underscore between its words and around it."""
    return f"_{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).replace('.', '_').lower().strip('_')}_"


def misnamed(tree: ast.AST, unwanted: set[str]) -> set[str]:
    given = {*names(tree), *outside_names(tree), *(event for event, _ in events(tree))} - THEIRS
    return {name for name in given if any(f"_{word}_" in parts(name) for word in unwanted)}


TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
}
LOGGED = {event for tree in TREES.values() for event in events(tree)} | set(log.INCIDENTS.values())
DOCUMENTED = dict(re.findall(r"^\| `([a-z_.]+)` \| (\w+)[^|]*\|", EVENTS, re.MULTILINE))


@pytest.mark.parametrize("module", TREES)
def test_no_name_is_a_word_that_the_glossary_replaces(module: str) -> None:
    assert misnamed(TREES[module], forbidden()) == set()


@pytest.mark.parametrize(
    "source",
    [
        "def cull(): ...",
        "class PoolCuller: ...\nculled = cull_now = 1",
        "self.evict = 1",
        "def f(borrow): ...",
        "_log.info('session.evict')",
        "Counter('tmppool_evict_total')",
        "SCHEMA = 'CREATE TABLE sessions (key TEXT, ttl REAL)'",
    ],
)
def test_the_check_of_names_can_fail(source: str) -> None:
    assert misnamed(ast.parse(source), forbidden())


def test_names_of_others_are_no_fault() -> None:
    assert misnamed(ast.parse("cull_max = os.evict().borrow"), forbidden()) == set()


def test_no_word_is_both_wanted_and_replaced() -> None:
    assert words() & forbidden() == set()
    assert len(words()) == len([word for cells in rows() for word in cells[0].split(",")]) - len({"idle"})


@pytest.mark.parametrize("word", [*State, *Reason])
def test_every_state_and_reason_is_in_the_glossary(word: str) -> None:
    assert str(word) in words()


def test_the_table_of_reasons_holds_them_and_nothing_else() -> None:
    table = GLOSSARY.partition("\n## Reasons\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| (\w[\w-]*) \|", table, re.MULTILINE)[1:]) == sorted(Reason)


def test_every_event_is_documented_with_its_level_and_no_other_event_is() -> None:
    assert {(name, level) for name, level in DOCUMENTED.items() if name not in BY_STATE | BY_PROGRESS} == LOGGED
    assert set(DOCUMENTED) >= BY_STATE | BY_PROGRESS


@pytest.mark.parametrize("event", sorted(DOCUMENTED))
def test_an_event_is_a_noun_and_what_became_of_it(event: str) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", event)
