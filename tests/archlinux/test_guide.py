"""Every command of the image's guide is run, in order, in a copy of the checkout, as someone would who reads it.

``https://mirror.example/archlinux`` becomes a mirror of our own. Since that has Debian in place of Arch's packages, parts
that it lacks are left out of each build, and the tests' own certificates and index are used. Nothing else is changed.
"""

import asyncio
import ipaddress
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import aiohttp
import pytest

from tests.acceptance.harness import Taken, free_port
from tests.acceptance.test_restart import Kernel
from tests.archlinux import stage
from tests.archlinux.repository import ROOT, Repository, run
from tmppool.recipes import CERTIFICATES

pytestmark = [pytest.mark.arch, pytest.mark.engine, pytest.mark.timeout(1200)]

GUIDE = (ROOT / "images/archlinux/README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()]
MIRROR = "https://mirror.example/archlinux"
ONLY_FROM_ARCH = [f"--build-arg {part}=no" for part in ("WITH_R", "WITH_JULIA", "WITH_OCTAVE", "WITH_SCIENCE")]
NAMES = ("archlinux", "workshops", "your-image", "tmppool/archlinux")


@pytest.fixture
def mirror(repository: Repository) -> Iterator[str]:
    """A web server that this machine and what is built on its engine can reach."""
    subnet = run(["docker", "network", "inspect", "--format={{(index .IPAM.Config 0).Subnet}}", "bridge"]).strip()
    gateway = str(next(ipaddress.ip_network(subnet).hosts()))
    handler = partial(Quiet, directory=str(repository.mirror))
    with ThreadingHTTPServer((gateway, 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{gateway}:{server.server_port}"
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What ``git clone`` would give, its environment made, with a certificate where the guide says."""
    copy = tmp_path / "checkout"
    for name in run(["git", "ls-files", "-z"], cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    (copy / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if not path.name.startswith(".has-"):
            (copy / ".venv" / path.name).symlink_to(path)
    # What scripts/install would note: with it, it leaves the tests' own environment alone.
    (copy / ".venv/.has-notebook").write_text(run(["sh", "-c", "cksum < pyproject.toml"], cwd=copy))
    bundle = next((os.environ[name] for name in CERTIFICATES if os.environ.get(name)), None)
    if bundle:
        shutil.copy(bundle, copy / "images/archlinux/ca-bundle.crt")
    return copy


@pytest.fixture
def _names_kept() -> Iterator[None]:
    """The operator's own images of these names are theirs again afterwards."""
    with stage.names_kept(*NAMES):
        yield


def adapted(command: str, mirror: str, repository: Repository, cache: Path) -> str:
    """Return the command as it can be run here: see above."""
    command = command.removeprefix("sudo ").replace(MIRROR, mirror)
    if command.startswith("docker build") or " build-image " in command:
        given = [*ONLY_FROM_ARCH]
        if os.environ.get("PIP_INDEX_URL") and command.startswith("docker"):
            given.append(f"--build-arg PIP_INDEX_URL={os.environ['PIP_INDEX_URL']}")
        command = f"{command} {' '.join(given)}"
    if "mkimage-arch.sh" in command:
        command += f" --keyring={repository.keyring} --cache={cache}"
    return command


def test_the_guide_is_one_page_whose_commands_are_all_found() -> None:
    assert len(COMMANDS) == 12
    assert len(GUIDE.split()) < 700


@pytest.mark.usefixtures("_names_kept")
async def test_every_command_of_the_guide_does_what_it_says(
    mirror: str, checkout: Path, repository: Repository, tmp_path: Path
) -> None:
    environ = {
        **os.environ,
        "DOCKER_BUILDKIT": "0",
        "DEBIAN_FRONTEND": "noninteractive",
        "KEYRING": str(repository.keyring),
    }
    for command in COMMANDS:
        line = adapted(command, mirror, repository, tmp_path / "cache")
        if line.startswith("./start-tmpnb"):
            if "your-image" in line:
                run(["docker", "tag", "workshops", "your-image"])
            await serves(line, checkout, tmp_path / str(COMMANDS.index(command)))
            continue
        done = await asyncio.to_thread(
            subprocess.run, ["sh", "-c", line], cwd=checkout, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        if command == "docker run --rm archlinux echo Success":
            assert done.stdout == "Success\n"
        if "libexec/check" in command:
            assert "FAILED" not in done.stdout
    packages = run(["docker", "run", "--rm", "--network=none", "workshops", "pip", "list"])
    assert "networkx" in packages


async def serves(line: str, checkout: Path, state: Path) -> None:
    """The command starts a service; a visitor's cell runs in it."""
    port, admin_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "PORT": port,
        "ADMIN_PORT": admin_port,
        "POOL_NAME": f"guide-{port}",
        "POOL_SIZE": 1,
        "STATE_DIR": state,
        "ON_EXIT": "stop",
    }
    environ = {**os.environ, **{f"TMPPOOL_{name}": str(value) for name, value in settings.items()}}
    log = state.with_suffix(".log")
    with log.open("wb") as file:
        service = await asyncio.create_subprocess_exec(
            "sh", "-c", f"exec {line}", cwd=checkout, env=environ, stdout=file, stderr=file
        )
    try:
        taken = await first_notebook(url, service, log)
        kernel = Kernel(taken)
        await kernel.begin()
        assert await kernel.run("print(6 * 7)") == "42\n"
    finally:
        if service.returncode is None:
            service.send_signal(signal.SIGTERM)
        await asyncio.wait_for(service.wait(), 60)


async def first_notebook(url: str, service: asyncio.subprocess.Process, log: Path) -> Taken:
    async with asyncio.timeout(120), aiohttp.ClientSession() as session:
        while True:
            assert service.returncode is None, log.read_text()
            try:
                async with session.post(f"{url}/api/spawn") as reply:
                    given = await reply.json()
                    if reply.status == 200:
                        return Taken(f"{url}{given['url']}", given["token"])
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.3)
