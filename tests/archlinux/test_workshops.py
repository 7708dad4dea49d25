"""Workshops: what the list names is in the home, and a bad line ends the build with one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.archlinux.conftest import Lean, Workshop
from tests.archlinux.stage import said
from tmppool.recipes import images_dir

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]  # the first test has to build the images

FETCH = images_dir() / "archlinux" / "steps" / "fetch-workshops"
RECORD = "/opt/notebook/share/image/workshops"


def fetched(home: Path, text: str) -> tuple[int, str, str]:
    """Follow a list: exit code, what was printed, and the record."""
    wanted, record = home.parent / "workshops.txt", home.parent / "facts" / "record"
    wanted.write_text(text)
    home.mkdir(exist_ok=True)
    result = subprocess.run([sys.executable, FETCH, wanted, home, record], check=False, text=True, capture_output=True)
    return result.returncode, result.stdout + result.stderr, record.read_text() if record.exists() else ""


def test_the_list_that_comes_with_the_image_names_no_workshop(tmp_path: Path) -> None:
    assert fetched(tmp_path / "home", (FETCH.parents[1] / "workshops.txt").read_text()) == (0, "", "")


def test_a_list_is_followed(tmp_path: Path, workshop: Workshop) -> None:
    server, waves = workshop.url, workshop.path
    newest, oldest = workshop.git("rev-parse", "main"), workshop.git("rev-parse", "v1")
    home = tmp_path / "home"
    text = f"# Ours:\n\n  {server}  # the newest\n{server} v1 old-waves\nfile://{waves} - from-a-file\nfile://{waves} main again\n"
    record = f"waves {server} - {newest}\nold-waves {server} v1 {oldest}\nfrom-a-file file://{waves} - {newest}\nagain file://{waves} main {newest}\n"

    assert fetched(home, text) == (0, record, record)
    contents = {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}
    assert contents == {
        "waves/intro.md": "two",
        "old-waves/intro.md": "one",
        "from-a-file/intro.md": "two",
        "again/intro.md": "two",
    }


@pytest.mark.parametrize(
    ("url", "code"), [("file://reader:pass-word@{path}", 0), ("http://reader:pass-word@127.0.0.1:1/waves.git", 1)]
)
def test_no_password_is_written_down(tmp_path: Path, workshop: Workshop, url: str, code: int) -> None:
    result, output, record = fetched(tmp_path / "home", url.format(path=workshop.path) + " - waves\n")
    assert result == code, output
    assert "waves" in output
    assert "pass-word" not in output + record


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("waves", "the URL begins with none of https://, http://, git://, ssh://, file://"),
        ("ext::sh -c x", "the URL begins with none of"),
        ("ftp://git.example/waves", "the URL begins with none of"),
        ("--upload-pack=x", "the URL begins with none of"),
        ("{server} main waves more", "there is more on it than URL, branch or tag, and directory"),
        ("{server} - ../waves", "'../waves' is no plain name for a directory"),
        ("{server} - .jupyter", "'.jupyter' is no plain name for a directory"),
        ("{server} - a/b", "'a/b' is no plain name for a directory"),
        ("file:///", "'' is no plain name for a directory"),
        ("{server} - examples", "there is a 'examples' already"),
        ("{server} no-such-branch", "Remote branch no-such-branch not found in upstream origin"),
        ("{server} --upload-pack=x", "Remote branch --upload-pack=x not found"),
        ("{server}-gone", "access denied or repository not exported"),
        ("http://127.0.0.1:1/waves.git", "unable to access 'http://127.0.0.1:1/waves.git/'"),
    ],
)
def test_a_bad_line_ends_it_with_one_sentence(tmp_path: Path, workshop: Workshop, line: str, reason: str) -> None:
    server = workshop.url
    (tmp_path / "home" / "examples").mkdir(parents=True)
    line = line.format(server=server)
    code, output, record = fetched(tmp_path / "home", f"# Ours:\n{server} - first\n{line}\n")
    _first, sentence = output.splitlines()
    assert code == 1
    assert sentence.startswith(f"workshops.txt, line 3 ({line}): ")
    assert reason in sentence
    assert record == ""


def test_workshops_are_in_the_home_and_the_image_says_which(lean: Lean, workshop: Workshop) -> None:
    show = (
        f"cd /home/jovyan && stat -c '%n %u:%g %a' waves waves/* && cat waves/intro.md && ls -A waves && cat {RECORD}"
    )
    commit = workshop.git("rev-parse", "v1")
    facts = f"waves 1000:100 755\nwaves/intro.md 1000:100 644\noneintro.md\nwaves {workshop.url} v1 {commit}\n"
    assert said(lean.name, "sh", "-c", show) == (0, facts)
    assert f"waves {workshop.url} v1 {commit}" in lean.log
