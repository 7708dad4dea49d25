"""The documentation's site: scripts/docs builds it, and a warning is an error. tests/clients clicks its example."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SERVICE = "https://nb.example"


def build(folder: Path, service: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TMPPOOL_SERVICE": service}
    return subprocess.run([ROOT / "scripts/docs", folder], env=env, check=False, text=True, capture_output=True)


def built(folder: Path, service: str = "") -> Path:
    done = build(folder, service)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a site without a service."""
    return built(tmp_path_factory.mktemp("site"))


def test_the_index_leads_to_every_page(site: Path) -> None:
    text = (
        (site / "index.html")
        .read_text(encoding="utf-8")
        .partition('<article class="bd-article">')[2]
        .partition("</article>")[0]
    )
    names = [path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")]
    linked = re.findall(r'href="([\w./-]+\.html)"', text)
    assert sorted(linked) == sorted(set(names) - {"index.html"})
    assert [name for name in names if not (site / name).is_file()] == []


def test_the_index_is_for_authors_first_then_for_operators() -> None:
    found = re.findall(r"^## (.+)$", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert found == ["For page authors", "For operators", "For contributors", "Decisions"]


def test_without_a_service_nothing_is_offered(site: Path) -> None:
    text = (site / "authors/live.html").read_text(encoding="utf-8")
    assert "Not configured" in text
    assert "thebe-button" not in text
    assert "badge.svg" not in text


def test_with_a_service_the_example_leads_there(tmp_path: Path) -> None:
    text = (built(tmp_path, f"{SERVICE}/") / "authors/live.html").read_text(encoding="utf-8")
    assert "Not configured" not in text
    assert f'href="{SERVICE}/"><img alt="Try it live" src="{SERVICE}/badge.svg"' in text
    assert f'{{"binderOptions": {{"binderUrl": "{SERVICE}"}}}}' in text
    assert text.count('<div class="thebe highlight-python') == text.count('onclick="initThebe()"') == 1


@pytest.mark.parametrize("service", ["nb.example", "https://a.example,https://b.example", 'https://nb.example/"<'])
def test_what_is_no_address_of_a_service_is_refused(tmp_path: Path, service: str) -> None:
    done = build(tmp_path, service)
    assert done.returncode == 2
    assert f"TMPPOOL_SERVICE: {service!r} is not the address of one service" in done.stderr
