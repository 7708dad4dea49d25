"""What the documents say is what the code has."""

import importlib.machinery
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tmppool import __version__
from tmppool.app import _repositories
from tmppool.config import Settings, load
from tmppool.pool_settings import RepositorySettings
from tmppool.providers import PROVIDERS
from tmppool.web import openapi, peer_links
from tmppool.web.repositories import Place

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def setting_rows() -> dict[str, str]:
    rows = re.findall(r"^\| `(?:--)?([\w.\-\[\]]+)`(?: \((?:variable|file)\))? \|(.*?)\|", README, re.MULTILINE)
    return {name.lower().replace("-", "_").strip("[]").removesuffix(".name"): default for name, default in rows}


def test_every_setting_stands_in_the_readme_and_no_other() -> None:
    assert set(setting_rows()) == set(Settings.model_fields)


TOLD_IN_WORDS = ("parallel_starts", "pools", "repositories", "api_auth_token", "admin_auth_token")


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name not in TOLD_IN_WORDS])
def test_the_readme_tells_the_default(name: str) -> None:
    default = Settings.model_fields[name].default
    shown = f"{default:g}" if isinstance(default, float) else str(default).lower() if default is False else str(default)
    wanted = "" if default in (None, (), {}) else f"`{shown}`"

    assert setting_rows()[name].strip() == wanted


def test_the_readme_tells_what_each_setting_is() -> None:
    for name, field in Settings.model_fields.items():
        assert str(field.description).partition(": ")[2 if name.endswith("auth_token") else 0] in README, name


ADDRESSES = {
    path: {method.upper() for method in item}
    for document in (openapi.public(with_pages=False), openapi.admin())
    for path, item in document["paths"].items()
}


@pytest.mark.parametrize("path", ADDRESSES)
def test_the_readme_names_each_address_for_programs(path: str) -> None:
    shown = (
        path.replace("/notebooks/{key}", "/notebooks/<id>").replace("{key}", "<key>").replace("{rest}", "<repository>")
    )
    lines = [line for line in README.splitlines() if f"{shown}`" in line]
    methods = ADDRESSES[path] - {"OPTIONS"} if path != openapi.PATH else set()
    assert lines
    assert [method for method in methods if not any(method in line for line in lines)] == []


def test_the_readmes_two_commands_exist() -> None:
    for command in ("./start-tmpnb", "scripts/test"):
        assert f"```sh\n{command}\n```" in README
        assert (ROOT / command).stat().st_mode & 0o111


def test_the_changelog_has_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def promises() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("promises", str(ROOT / "scripts/promises"))
    spec = importlib.util.spec_from_loader("promises", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_every_promise_names_a_test_that_exists() -> None:
    checked = subprocess.run([sys.executable, ROOT / "scripts/promises"], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "SPECIFICATION.md holds no promise"),
        ("| A-1 | kept | |", "A-1 names no test"),
        ("| A-1 | kept | `tests/nowhere.py::test_x` |", "A-1: there is no tests/nowhere.py"),
        (
            "| A-1 | kept | `tests/test_documents.py::test_no_such` |",
            "A-1: tests/test_documents.py has no test_no_such",
        ),
        (
            "| A-1 | x | `tests/test_documents.py::promises` |\n| A-1 | y | `tests/test_documents.py::promises` |",
            "A-1 stands twice",
        ),
    ],
)
def test_the_check_of_promises_can_fail(text: str, fault: str) -> None:
    assert promises().faults(text) == [fault]


def test_the_readmes_repositories_lead_where_it_says(tmp_path: Path) -> None:
    text = README.partition("### Links to repositories")[2].partition("## Development")[0]
    (example,) = re.findall(r"```toml\n(.+?)```", text, re.DOTALL)
    told = re.search(r"So `([^`]+)` opens `([^`]+)` in the pool `([^`]+)`", text)
    assert told is not None
    file = tmp_path / "tmppool.toml"
    file.write_text(example)
    settings = load({"config": str(file)})
    link = peer_links.parse(told[1])
    assert link is not None
    assert _repositories(settings).place(link) == Place(told[3], f"lab/tree/{told[2]}")
    assert settings.unknown_repositories == "refuse"
    assert re.findall(r"^- `(\w+)`: ", text, re.MULTILINE) == [*RepositorySettings.model_fields]
    providers = re.search(r"Binder's links \(([^)]+)\)", text)
    assert providers is not None
    assert set(re.findall(r"\w+", providers[1])) == set(PROVIDERS)


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/embedding.md"])
def test_no_paragraph_begins_like_another(name: str) -> None:
    """Two versions of one paragraph are left where changes are put together."""
    begins = [line[:80] for line in (ROOT / name).read_text().splitlines() if len(line) > 80]
    assert [begin for begin in begins if begins.count(begin) > 1] == []
