"""docs/changes.md names files and tests that exist; and what a change may forget across modules is asked for here."""

import ast
import re
import sqlite3
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from tmppool.backends import BACKENDS, container_limits
from tmppool.backends.base import Spec
from tmppool.config import Settings
from tmppool.from_settings import SETTING_OF
from tmppool.ledger import Ledger
from tmppool.policy import Limits
from tmppool.pool_settings import PoolSettings

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs/changes.md").read_text()
ROWS = [line.strip("| ").split(" | ") for line in DOCUMENT.splitlines() if line.startswith("| ")][2:]
NAMED = re.compile(r"`((?:tmppool|tests|scripts|docs|images)/[\w./-]*)(?:::(\w+))?`")
WITHOUT_READER = {"config"}
"""Settings that only the reader of the settings uses, before there are any."""


def names_in(path: Path) -> set[str]:
    """Return the functions, classes and variables of a file: a state machine's test is a variable."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    nodes = list(ast.walk(ast.parse(path.read_text())))
    variables = {
        name.id for node in nodes if isinstance(node, ast.Assign) for name in node.targets if isinstance(name, ast.Name)
    }
    return {node.name for node in nodes if isinstance(node, kinds)} | variables


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_change_names_files_and_tests_that_exist(row: list[str]) -> None:
    change, touch, fails = row
    assert NAMED.search(touch), f"{change}: no file"
    for path, name in NAMED.findall(touch + fails):
        assert (ROOT / path).exists(), path
        assert not name or name in names_in(ROOT / path), f"{path}::{name}"


def test_a_change_stands_once() -> None:
    changes = [row[0] for row in ROWS]
    assert len(set(changes)) == len(changes) > 15


# Forgotten across modules


@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) | set(PoolSettings.model_fields)))
def test_every_setting_is_read(name: str) -> None:
    """A setting that nobody reads is taken, documented and without effect."""
    field = {SETTING_OF.get(each.name, each.name): each.name for each in fields(Spec)}.get(name, name)
    declared = {ROOT / "tmppool/config.py", ROOT / "tmppool/pool_settings.py"}
    readers = [
        path
        for path in (ROOT / "tmppool").rglob("*.py")
        if re.search(rf'\.({name}|{field})\b|Limit\(.*"{field}"|^ +"{field}",', path.read_text(), re.MULTILINE)
        and path not in declared
    ]
    # A property of the settings may stand between: its readers read the setting.
    between = any(re.search(rf"\bself\.{name}\b", path.read_text()) for path in declared)
    # The limits of a container are read by the names in their table.
    is_limit = field in {limit.field for limit in container_limits.LIMITS}
    assert readers or between or is_limit or name in WITHOUT_READER


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_every_limit_of_a_pool_is_read(name: str) -> None:
    """The setting of one is read where the limits are made, whether or not the pool keeps it then."""
    core = [(ROOT / "tmppool" / module).read_text() for module in ("policy.py", "pool.py")]
    assert any(re.search(rf"\blimits\.{name}\b", text) for text in core)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_keeps_the_contract(name: str) -> None:
    """A backend's tests are the contract's, with the backend filled in."""
    cls = BACKENDS[name].factory.partition(":")[2]
    tests = [path.read_text() for path in (ROOT / "tests/backends").glob("test_*.py")]
    held = [text for text in tests if re.search(r"class \w+\((Command)?Contract\)", text) and cls in text]
    assert held, f"no test of {cls} derives from the contract (tests/backends/contract.py)"


def test_every_backend_is_a_choice_of_the_setting() -> None:
    assert set(get_args(Settings.model_fields["backend"].annotation)) == {"auto", *BACKENDS}


_FIRST = ["key", "pool", "state", "visitor", "warm_at", "assigned_at", "expires_at", "ended_at", "reason"]
COLUMNS = {1: _FIRST, 2: [*_FIRST, "shared"], 3: [*_FIRST, "shared", "network", "opened_at"]}
COLUMNS[4] = [*COLUMNS[3], "seal"]
"""What a row of the ledger holds, by the version of the file. A version that was released stays as it is."""


async def test_a_column_comes_with_a_version_of_its_own(tmp_path: Path) -> None:
    """A column without one is missing in every file that an operator has already."""
    path = tmp_path / "ledger.sqlite"
    await (await Ledger.open(path)).close()
    database = sqlite3.connect(path)
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        columns = [row[1] for row in database.execute("PRAGMA table_info(sessions)")]
    finally:
        database.close()
    assert columns == COLUMNS[version]
    assert version == max(COLUMNS)
