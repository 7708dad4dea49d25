"""The Debian image as the service runs it: read-only, without a network, as a user of that notebook alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path

import aiodocker
import pytest
from aiodocker.containers import DockerContainer
from rich.console import Console

from tests.specs import spec_of
from tmppool.backends import engine
from tmppool.build_image import build
from tmppool.recipes import BuildOptions

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]  # the first test may have to build the image

SEEDED = 'cp -a /home/jovyan/. "$HOME" && cd "$HOME" && exec "$@"'
IQSS = (
    '--NotebookApp.base_url=/user/x --ip=0.0.0.0 --port=8888 --NotebookApp.token="" --NotebookApp.trust_xheaders=True'
)


@pytest.fixture
async def image() -> str:
    return await build("debian")


@pytest.fixture
async def docker() -> AsyncIterator[aiodocker.Docker]:
    async with aiodocker.Docker() as docker:
        yield docker


def profile(image: str, *command: str) -> dict[str, object]:
    home = "rw,exec,nosuid,nodev,size=64m,uid=20001,gid=100,mode=0700"
    return {
        "Image": image,
        "Cmd": ["sh", "-c", SEEDED, "sh", *command],
        "User": "20001:100",
        "Env": ["HOME=/home/visitor"],
        "HostConfig": {
            "ReadonlyRootfs": True,
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Tmpfs": {"/home/visitor": home, "/tmp": "rw,exec,nosuid,nodev,size=64m,mode=1777"},
        },
    }


@asynccontextmanager
async def running(docker: aiodocker.Docker, image: str, *command: str) -> AsyncIterator[DockerContainer]:
    container = await docker.containers.create(profile(image, *command))
    try:
        await container.start()
        yield container
    finally:
        await engine.remove(docker, container.id)


async def said(container: DockerContainer, *command: str) -> tuple[int, str]:
    """Run ``command`` in the container: its exit code, and all that it printed."""
    execution = await container.exec(list(command))
    output = b""
    async with execution.start(detach=False) as stream:
        while message := await stream.read_out():
            output += message.data
    return (await execution.inspect())["ExitCode"], output.decode()


async def get(container: DockerContainer, path: str, token: str = "") -> tuple[int, str]:
    """Ask the container's Jupyter for ``path``: status (0 when nothing listens) and body."""
    code = """
import sys, urllib.error, urllib.request
request = urllib.request.Request("http://127.0.0.1:8888" + sys.argv[1], headers={"Authorization": "token " + sys.argv[2]})
try:
    answer = urllib.request.urlopen(request, timeout=10)
except urllib.error.HTTPError as error:
    answer = error
except OSError:
    sys.exit("0")
print(answer.status, answer.read().decode())
"""
    _, output = await said(container, "python", "-c", code, path, token)
    status, _, body = output.partition(" ")
    return int(status), body


async def ready(container: DockerContainer, base: str) -> None:
    try:
        async with asyncio.timeout(60):
            while (await get(container, f"{base}api"))[0] != 200:
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail("".join(await container.log(stdout=True, stderr=True)))


async def test_an_unchanged_image_is_not_built_again(image: str, docker: aiodocker.Docker, tmp_path: Path) -> None:
    console = Console(file=StringIO())
    log = tmp_path / "build.log"
    before = await docker.images.inspect(image)
    assert await build("debian", BuildOptions(log=log), console=console) == image
    assert not log.exists()
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
    after = await docker.images.inspect(image)
    assert after["Id"] == before["Id"]
    assert {image, "tmppool/debian:latest"} <= set(after["RepoTags"])


async def test_what_the_image_says_of_itself(image: str, docker: aiodocker.Docker) -> None:
    config = (await docker.images.inspect(image))["Config"]
    assert config["Entrypoint"] == ["tini", "-g", "--"]
    assert config["Cmd"] == ["start-notebook.sh"]
    assert config["User"] == "1000:100"
    assert config["WorkingDir"] == "/home/jovyan"
    assert config["ExposedPorts"] == {"8888/tcp": {}}
    assert config["Labels"] == {"tmppool.landing": "/notebooks/welcome.ipynb"}
    assert "Healthcheck" not in config


async def test_nothing_of_the_build_is_left(image: str, docker: aiodocker.Docker) -> None:
    left = {"dangling": ["true"], "label": ["tmppool.recipe=debian"]}
    assert await docker.images.list(filters=left) == []
    async with running(docker, image, "sleep", "600") as container:
        assert await said(container, "sh", "-c", "find / -xdev -name ca-bundle.crt 2>/dev/null || :") == (0, "")
        code, _ = await said(container, "python", "-c", "import rfc3987_syntax")
        assert code == 1


async def test_the_home_is_for_everyone_to_copy(image: str, docker: aiodocker.Docker) -> None:
    async with running(docker, image, "sleep", "600") as container:
        assert await said(container, "stat", "-c", "%a %u:%g", "/home/jovyan") == (0, "755 1000:100\n")
        assert await said(container, "find", "/home/jovyan", "-type", "f", "!", "-perm", "-o=r") == (0, "")
        assert await said(container, "id", "-un", "1000") == (0, "jovyan\n")
        code, listing = await said(container, "sh", "-c", 'find "$HOME" -type f -user 20001 -printf "%P\n"')
        assert code == 0
        assert "welcome.ipynb\n" in listing
        assert ".cache/matplotlib/fontlist-" in listing


async def test_each_user_number_that_a_notebook_may_get_has_a_name_and_a_home(
    image: str, docker: aiodocker.Docker
) -> None:
    numbers = spec_of("one", "main").uids
    async with running(docker, image, "sleep", "600") as container:
        for number in (numbers[0], numbers[len(numbers) // 2], numbers[-1]):
            entry = f"jovyan:x:{number}:100:Visitor:/home/jovyan:/bin/bash\n"
            assert await said(container, "getent", "passwd", str(number)) == (0, entry)
        assert (await said(container, "getent", "passwd", str(numbers[-1] + 1)))[0] == 2
        assert await said(container, "sh", "-c", "grep -c :Visitor: /etc/passwd") == (0, f"{len(numbers) + 1}\n")
        assert await said(container, "getent", "passwd", "jovyan") == (
            0,
            "jovyan:x:1000:100:Visitor:/home/jovyan:/bin/bash\n",
        )


async def test_a_read_only_visitor_gets_a_notebook(image: str, docker: aiodocker.Docker) -> None:
    options = ("--ServerApp.base_url=/user/x/", "--IdentityProvider.token=secret")
    async with running(docker, image, "start-notebook.sh", *options) as container:
        await ready(container, "/user/x/")
        log = "".join(await container.log(stdout=True, stderr=True))
        assert "Extension Manager is 'readonly'" in log
        assert "[W " not in log
        assert "[E " not in log
        assert (await get(container, "/user/x/api/contents"))[0] == 403
        status, listing = await get(container, "/user/x/api/contents", "secret")
        assert status == 200
        assert [entry["name"] for entry in json.loads(listing)["content"]] == ["welcome.ipynb"]
        for path in ("lab", "tree", "notebooks/welcome.ipynb", "api/terminals"):
            assert (await get(container, f"/user/x/{path}", "secret"))[0] == 200, path
        assert json.loads((await get(container, "/user/x/lab/api/news", "secret"))[1]) == {"news": []}
        assert json.loads((await get(container, "/user/x/lab/api/update", "secret"))[1]) == {"notification": None}


async def test_the_welcome_notebook_runs(image: str, docker: aiodocker.Docker) -> None:
    async with running(docker, image, "sleep", "600") as container:
        execute = ("jupyter", "nbconvert", "--execute", "--to", "notebook", "--stdout", "/home/visitor/welcome.ipynb")
        code, output = await said(container, *execute)
        assert code == 0, output
        assert '"image/png"' in output
        assert "Neptune" in output
        assert "font cache" not in output


@pytest.mark.parametrize("command", [("start-notebook.sh", IQSS), ("jupyter", "lab", *IQSS.replace('""', "").split())])
async def test_a_tmpnb_operators_command_line(image: str, docker: aiodocker.Docker, command: tuple[str, ...]) -> None:
    async with running(docker, image, *command) as container:
        await ready(container, "/user/x/")
        assert (await get(container, "/user/x/api/contents"))[0] == 200  # an empty token lets everyone in


async def test_a_terminal_has_the_notebooks_python(image: str, docker: aiodocker.Docker) -> None:
    async with running(docker, image, "sleep", "600") as container:
        assert await said(container, "bash", "-lc", "command -v python") == (0, "/opt/notebook/bin/python\n")


async def test_what_a_terminal_runs_goes_before_the_server_when_memory_is_short_and_no_other_login_shell(
    image: str, docker: aiodocker.Docker
) -> None:
    """The server itself may be started by a login shell, as an image's entrypoint."""
    score = "cat /proc/self/oom_score_adj"
    async with running(docker, image, "sleep", "600") as container:
        _, before = await said(container, "sh", "-c", score)
        assert await said(container, "bash", "-lc", score) == (0, before)
        _, terminal = await said(container, "script", "-qec", f"bash -lic '{score}'", "/dev/null")
        assert terminal.split()[-1] == str(int(before) + 200)
