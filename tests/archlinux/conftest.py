"""A package repository and the images, each made once, when the first test asks for it."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.acceptance.harness import free_port
from tests.archlinux import stage
from tests.archlinux.repository import Repository, run
from tests.conftest import lacks, unavailable
from tmppool.build_image import build
from tmppool.recipes import BuildOptions

WITH_PACMAN = Path(__file__).with_name("debian-with-pacman")


@dataclass(frozen=True)
class Workshop:
    """A git repository with two commits, at a git server of this machine; the first commit is tagged v1."""

    path: Path
    url: str

    def git(self, *command: str) -> str:
        who = ("-c", "user.name=A", "-c", "user.email=a@workshop.example")
        return subprocess.check_output(["git", "-C", self.path, *who, *command], text=True).strip()


@dataclass(frozen=True)
class Lean:
    """The image with every part left out that can be left out, and a workshop in it; what its build said."""

    name: str
    log: str


@pytest.fixture(scope="package", autouse=True)
def _stages_pruned() -> Iterator[None]:
    """What builds by the engine's own command leave of their stages goes at the end."""
    yield
    if shutil.which("docker"):
        stage.docker("image", "prune", "--force", "--filter=label=tmppool.stage=build")


@pytest.fixture(scope="package")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    path = tmp_path_factory.mktemp("served") / "waves.git"
    path.mkdir()
    port = free_port()
    workshop = Workshop(path, f"git://127.0.0.1:{port}/waves.git")
    workshop.git("init", "--quiet", "--initial-branch=main")
    for version in ("one", "two"):
        (path / "intro.md").write_text(version)
        workshop.git("add", ".")
        workshop.git("commit", "--quiet", f"--message={version}")
    workshop.git("tag", "v1", "HEAD~1")
    where = ("--listen=127.0.0.1", f"--port={port}", f"--base-path={path.parent}", "--export-all", "--reuseaddr")
    command = ["git", "daemon", "--verbose", "--log-destination=stderr", *where]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert "Ready to rumble" in server.stderr.readline()
        yield workshop
        server.terminate()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def full() -> AsyncIterator[str]:
    """The image with all that can be had here: Python with the scientific packages, the shell, R and Octave."""
    with stage.names_kept(f"tmppool/{stage.NAME}"):
        yield await build(stage.NAME, await stage.full_options())


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def lean(workshop: Workshop) -> AsyncIterator[Lean]:
    options = BuildOptions(base=await stage.system(), arguments=stage.NOTHING)
    files = {"workshops.txt": f"{workshop.url} v1 waves\n"}
    lean = "tmppool/test-lean:latest"
    code, log = await stage.built(options, "--network=host", "--target=check", files=files)
    assert code == 0, log
    code, output = await stage.built(options, "--network=host", f"--tag={lean}", files=files)
    assert code == 0, output
    yield Lean(lean, log)
    stage.made("rmi", lean)


@pytest.fixture(scope="package")
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
        shutil.rmtree(folder, ignore_errors=True)  # an agent of gpg's may take its socket away meanwhile


def _system(folder: Path) -> Path:
    base = asyncio.run(stage.bare())
    image = "tmppool-test/debian-with-pacman"
    run(["docker", "build", "--quiet", f"--build-arg=BASE={base}", f"--tag={image}", str(WITH_PACMAN)])
    container = run(["docker", "create", image, "true"]).strip()
    try:
        run(["docker", "export", f"--output={folder}/system.tar", container])
    finally:
        run(["docker", "rm", container])
    path = folder / "system.tar"
    path.chmod(0o644)
    return path
