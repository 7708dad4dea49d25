"""A package repository for all tests of the base image, made once."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archlinux.repository import Repository, run
from tests.conftest import lacks, unavailable
from tmppool.recipes import BuildOptions, Recipe

SYSTEM = Path(__file__).with_name("system")


@pytest.fixture(scope="session")
def repository() -> Iterator[Repository]:
    for group in ("engine", "arch"):
        if reason := lacks(group):
            unavailable(group, reason)
    # Not below the directory for tests, which is root's alone: packages are built by another user.
    folder = Path(tempfile.mkdtemp(prefix="tmppool-repository-", dir="/var/tmp"))
    made = Repository(folder)
    try:
        made.make(_system(folder))
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


def _system(folder: Path) -> Path:
    base = Recipe.read("debian").base(BuildOptions())
    image = "tmppool-test/debian-with-pacman"
    run(["docker", "build", "--quiet", f"--build-arg=BASE={base}", f"--tag={image}", str(SYSTEM)])
    container = run(["docker", "create", image, "true"]).strip()
    try:
        run(["docker", "export", f"--output={folder}/system.tar", container])
    finally:
        run(["docker", "rm", container])
    path = folder / "system.tar"
    path.chmod(0o644)
    return path
