"""The home of real images on a real engine: whole in the notebook, or named; and where an image's home is."""

import asyncio
import contextlib
import json
import os
import re
import shlex
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiodocker
import pytest

from tests.backends.contract import FAILING, KEY, SERVER
from tests.images import built
from tests.specs import spec_of
from tmppool.backends import engine, image_home
from tmppool.backends.base import Edition, ImageFacts
from tmppool.backends.container import volume_labels
from tmppool.backends.docker import DockerBackend
from tmppool.backends.home_archive import Account
from tmppool.backends.home_paths import Copies, Tree
from tmppool.build_image import build
from tmppool.errors import BackendError, StartError
from tmppool.pool_settings import DEFAULT_IMAGE

SPEC = spec_of(service=f"test-{os.getpid()}-home", pool="main", image=DEFAULT_IMAGE, command=SERVER)
JOVYAN = Account(1000, 100, "/home/me")

# Where an image's home is


@pytest.mark.parametrize(
    ("home", "account", "expected"),
    [
        ("/home/x", JOVYAN, ["/home/x", "/home/me", "/home/jovyan"]),
        ("", JOVYAN, ["/home/me", "/home/jovyan"]),
        ("", Account(0, 0, "/root"), ["/root", "/home/jovyan"]),
        ("", None, ["/home/jovyan"]),
        ("/home/x/../y/", None, ["/home/y", "/home/jovyan"]),
        ("/", Account(7, 7, "/"), ["/home/jovyan"]),
        ("relative", Account(7, 7, ""), ["/home/jovyan"]),
    ],
)
def test_the_home_is_where_the_engine_and_the_image_say_never_the_whole_image(
    home: str, account: Account | None, expected: list[str]
) -> None:
    assert list(image_home.homes(ImageFacts(home=home), account)) == expected


@pytest.mark.parametrize(
    ("workdir", "home", "expected"),
    [
        ("/home/me", "/home/me", ("", "")),
        ("/home/me/", "/home/me", ("", "")),
        ("/home/me/talks/one", "/home/me", ("", "talks/one")),
        ("/home/me/../me/talks", "/home/me", ("", "talks")),
        ("/", "/home/me", ("", "")),
        ("", "/home/me", ("", "")),
        ("/home", "/home/me", ("", "")),
        ("/home/me2", "/home/me", ("/home/me2", "")),
        ("/srv", "/home/me", ("/srv", "")),
        ("/srv", "", ("/srv", "")),
        ("/", "", ("", "")),
    ],
)
def test_a_workdir_in_the_home_is_where_the_command_runs_and_another_is_copied_too(
    workdir: str, home: str, expected: tuple[str, str]
) -> None:
    assert image_home.place_of(workdir, home) == expected


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (["JUPYTER_DATA_DIR=/home/me/x", "A=/home/me"], ("JUPYTER_DATA_DIR=/home/notebook/x", "A=/home/notebook")),
        (["A=/srv/repo/out/", "B=/home//me", "C=/srv"], ("A=/home/notebook/out/", "B=/home/notebook")),
        (
            [
                "HOME=/home/me",
                "XDG_CACHE_HOME=/home/me/c",
                "PATH=/home/me/bin:/bin",
                "B=/home/me2",
                "D=./home/me",
                "E=",
                "C=x=/home/me",
                "odd",
            ],
            (),
        ),
    ],
)
def test_variables_that_name_a_copied_path_lead_into_the_copy(env: list[str], expected: tuple[str, ...]) -> None:
    trees = Tree("/home/me", "/home/me"), Tree("/srv/repo", "/srv/repo")
    assert image_home.moved(env, Copies([(tree, "/home/notebook") for tree in trees])) == expected
    assert image_home.moved(env, Copies([])) == ()


def test_variables_that_name_the_home_stay_if_notebooks_have_it_at_the_same_path() -> None:
    trees = Tree("/home/alias", "/home/me"), Tree("/srv/repo", "/srv/repo")
    copies = Copies([(tree, "/home/me") for tree in trees])
    env = ["A=/home/me/x/", "B=/home//me", "C=/srv/repo/x", "D=/home/alias/x"]
    assert image_home.moved(env, copies) == ("C=/home/me/x", "D=/home/me/x")


def test_another_image_or_another_pool_has_another_volume() -> None:
    image = ImageFacts("sha256:a", home="/home/x")
    names = {
        image_home.volume_name(spec, facts)
        for spec in (SPEC, replace(SPEC, pool="other"), replace(SPEC, service="two"))
        for facts in (image, replace(image, id="sha256:b"), replace(image, workdir="/srv"))
    }
    assert len(names | {image_home.volume_name(replace(SPEC, binds=("/a:/home/x/a",)), image)}) == 10


def test_few_of_many_that_are_left_out_are_named() -> None:
    image = ImageFacts(left_out=tuple(f"'/home/{number}' (mode 0600, x)" for number in range(9)), notes=("a note",))
    note, sentence = image_home.notes(Edition("id", "workshop", SPEC, image))
    assert note == "a note"
    assert sentence.startswith("notebooks lack some of the home of image workshop: '/home/0' (mode 0600, x), ")
    assert " and 4 more; in the Dockerfile, give them to the image's user" in sentence
    assert image_home.notes(Edition("id", "workshop", SPEC, ImageFacts())) == ()


def test_what_becomes_of_a_volume_of_the_image_is_told() -> None:
    volumes = ("/data", "/empty", "/home", "/home/me", "/home/me/work", "/home/you", "/tmp")
    image = ImageFacts(volumes=volumes, empty=("/empty",), home_at="/home/me")
    one, other, third = image_home.notes(Edition("id", "workshop", SPEC, image))
    assert one == "VOLUME /data, /home/you of image workshop is read-only in notebooks, with the image's files"
    assert other.startswith("VOLUME /empty, /home of image workshop is an empty tmpfs with the limits of /tmp (")
    assert third.startswith(
        "VOLUME /home/me/work of image workshop is a tmpfs in the home, with the image's files and "
    )


def test_what_a_volume_of_the_image_does_not_change_is_not_told() -> None:
    spec = replace(SPEC, binds=("/srv:/bound/:ro",))
    covered = ImageFacts(volumes=("/bound", "/dev/shm", "/home/notebook", "/tmp", "/var/lib/tmppool"))
    assert image_home.notes(Edition("id", "workshop", spec, covered)) == ()
    (sentence,) = image_home.notes(Edition("id", "workshop", spec, ImageFacts(volumes=("/data", "/tmp"))))
    assert sentence.startswith("VOLUME /data of image workshop is read-only")


def test_a_directory_for_temporary_files_that_is_full_is_not_taken_for_the_engine() -> None:
    file = image_home._Scratch(os.open("/dev/full", os.O_RDWR), "r+b")
    with pytest.raises(BackendError, match=r"in a temporary file in .*: No space left on device; TMPDIR names another"):
        file.write(b"x")
    file.close()


def test_a_directory_for_temporary_files_that_does_not_exist_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", f"{tmp_path}/none")
    with pytest.raises(BackendError, match=r"in a temporary file in .*/none: No such file or directory; TMPDIR names"):
        image_home._opened()


# On the engine

pytestmark = pytest.mark.timeout(1200)  # the first test may have to build the image

LOOK = """
import json, os, stat
home, found = os.environ["HOME"], {}
for folder, folders, files in os.walk(home):
    for name in folders + files:
        path = os.path.join(folder, name)
        seen = os.lstat(path)
        text = open(path).read() if stat.S_ISREG(seen.st_mode) else ""
        found[os.path.relpath(path, home)] = [seen.st_mode & 0o7777, seen.st_uid == os.getuid(), text[:20]]
print(json.dumps([os.readlink("/proc/1/cwd"), found]))
"""
Made = Callable[..., Awaitable[str]]


@pytest.fixture(autouse=True)
async def _tidy(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    yield
    if request.node.get_closest_marker("engine"):
        docker = await engine.connect()
        for name in await engine.volumes(docker, [f"tmppool.service={SPEC.service}"]):
            await engine.remove_volume(docker, name)
        await docker.close()


@pytest.fixture
async def docker() -> AsyncIterator[aiodocker.Docker]:
    if not await engine.has_image(DEFAULT_IMAGE):
        await build("debian")
    made = await engine.connect()
    yield made
    await made.close()


@pytest.fixture
async def image(docker: aiodocker.Docker) -> AsyncIterator[Made]:
    """Build images from the lines of a Dockerfile, on the default one."""
    async with contextlib.AsyncExitStack() as stack:
        yield lambda *lines: stack.enter_async_context(built(*lines))


async def opened(image: str, **changed: Any) -> DockerBackend:
    made = DockerBackend(replace(SPEC, image=image, **changed))
    try:
        await made.open()
    except BaseException:
        await made.close()
        raise
    return made


async def said(container: engine.Container, command: str) -> str:
    execution = await container.exec(["/bin/sh", "-c", command])
    output = b""
    async with execution.start(detach=False) as stream:
        while message := await stream.read_out():
            output += message.data
    return output.decode()


async def seen(backend: DockerBackend) -> tuple[str, dict[str, list[Any]]]:
    """Start a notebook; return its working directory, and its files: mode, whether they are its own, first bytes."""
    try:
        await backend.start(KEY, backend.edition)
        (container,) = await backend.docker.containers.list(filters={"label": [f"tmppool.key={KEY}"]})
        workdir, files = json.loads(await said(container, f"python3 -c {shlex.quote(LOOK)}"))
        return workdir, files
    finally:
        await backend.stop(KEY)
        await backend.close()


@pytest.mark.engine
async def test_everything_that_the_owner_can_read_arrives_as_it_was_and_the_rest_is_named(image: Made) -> None:
    name = await image(
        "USER 1000:100",
        "RUN umask 077 && mkdir -p course/data && echo one > course/data/one && echo key > key"
        ' && mkdir -m 700 trusted && echo x > "trusted/größe" && ln course/data/one hard'
        " && ln -s /home/jovyan/key absolute && mkfifo pipe && mkdir ro && echo r > ro/r && chmod 500 ro",
        "USER root",
        "RUN echo shown > shown && chmod 644 shown && echo secret > roots && chmod 600 roots"
        " && mkdir -m 700 closed && echo x > closed/x",
        "USER 1000:100",
    )
    backend = await opened(name)
    left_out = backend.image.left_out
    workdir, files = await seen(backend)
    assert workdir == "/home/jovyan"
    expected = {
        "course": [0o700, True, ""],
        "course/data": [0o700, True, ""],
        "course/data/one": [0o600, True, "one\n"],
        "hard": [0o600, True, "one\n"],
        "key": [0o600, True, "key\n"],
        "absolute": [0o777, True, ""],
        "pipe": [0o600, True, ""],
        "trusted": [0o700, True, ""],
        "trusted/größe": [0o600, True, "x\n"],
        "ro": [0o500, True, ""],
        "ro/r": [0o600, True, "r\n"],
        "shown": [0o644, True, "shown\n"],
    }
    assert {path: files.get(path) for path in expected} == expected
    assert not {"roots", "closed", "closed/x"} & set(files)
    assert left_out == (
        "'/home/jovyan/closed' (mode 0700, the image's user cannot read it)",
        "'/home/jovyan/roots' (mode 0600, the image's user cannot read it)",
    )


READABLE = "USER root", "RUN mkdir -p /opt/data && echo kept > /opt/data/file"


@pytest.mark.engine
@pytest.mark.parametrize(
    ("lines", "paths"),
    [
        pytest.param(
            [
                "ENV HOME=/root",
                "RUN ln -s ../opt/data /root/data && mkdir /root/a && ln -s ../../opt/data /root/a/data",
            ],
            ["data/file", "a/data/file"],
            id="a home of one level",
        ),
        pytest.param(
            ["WORKDIR /app", "RUN ln -s ../opt/data data && chown -R 1000 /app", "USER 1000:100"],
            ["data/file"],
            id="a workdir of one level",
        ),
        pytest.param(
            [
                (
                    "RUN mv /home/jovyan /data && ln -s /data /home/jovyan && echo kept > /data/file && chmod 600 /data/file"
                    " && cd /data && ln -s /data/file real && ln -s /home//jovyan/file double && ln -s ../data/file relative"
                    " && ln -s ../opt/data/file out && ln -s /home/jovyan/../jovyan/file dots && chown -h 1000:100 *"
                ),
                "USER 1000:100",
            ],
            ["file", "real", "double", "relative", "out", "dots"],
            id="a home that is a link",
        ),
        pytest.param(
            [
                (
                    "RUN mkdir -p /disk && mv /home /disk/home && ln -s /disk/home /home && ln -s /disk/home/jovyan /talk"
                    " && cd /talk && echo kept > file && chmod 600 file && chown 1000 file"
                    " && ln -s /disk/home/jovyan/file real && ln -s /home/jovyan/file named && ln -s /talk/file third"
                ),
                "WORKDIR /talk",
                "ENV MINE=/talk/file",
                "USER 1000:100",
            ],
            ["file", "real", "named", "third", "$MINE"],
            id="below a link",
        ),
        pytest.param(
            [
                "WORKDIR /srv/repo",
                "ENV RESULTS=/srv/repo/out THERE=/home/jovyan/there",
                (
                    "RUN mkdir out && echo kept > out/file && ln -s /srv/repo/out/file /home/jovyan/there"
                    " && chown -R 1000 /srv/repo && chmod 700 out"
                ),
                "USER 1000:100",
            ],
            ["out/file", "$RESULTS/file", "$THERE"],
            id="a workdir outside of the home",
        ),
    ],
)
async def test_links_and_variables_lead_where_they_lead_in_the_image(
    image: Made, docker: engine.Client, lines: list[str], paths: list[str]
) -> None:
    backend = await opened(await image(*READABLE, *lines))
    try:
        await backend.start(KEY, backend.edition)
        (container,) = await docker.containers.list(filters={"label": [f"tmppool.key={KEY}"]})
        for path in paths:
            assert await said(container, f'cd "$HOME" && cat "{path}"') == "kept\n", path
        if "$RESULTS/file" in paths:
            assert await said(container, 'cd "$RESULTS" && touch x && pwd') == "/home/jovyan/out\n"
    finally:
        await backend.stop(KEY)
        await backend.close()


@pytest.mark.engine
@pytest.mark.parametrize("user", ["jovyan:course", "jovyan", "1000"])
async def test_what_a_group_of_the_user_may_read_is_copied(image: Made, user: str) -> None:
    name = await image(
        "USER root",
        "RUN groupadd course && usermod -aG course jovyan && echo x > shared && chgrp course shared"
        " && chmod 640 shared",
        f"USER {user}",
    )
    backend = await opened(name)
    left_out = backend.image.left_out
    _, files = await seen(backend)
    assert left_out == ()
    assert files["shared"] == [0o640, True, "x\n"]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("lines", "workdir", "names"),
    [
        pytest.param(
            ["RUN mkdir -p talks/one", "WORKDIR /home/jovyan/talks/one"],
            "/home/jovyan/talks/one",
            {"welcome.ipynb", "talks/one"},
            id="below the home",
        ),
        pytest.param(["WORKDIR /"], "/home/jovyan", {"welcome.ipynb"}, id="none"),
        pytest.param(
            ["USER root", "WORKDIR /srv/talk", "RUN echo x > intro.ipynb", "USER 1000:100"],
            "/home/jovyan",
            {"welcome.ipynb", "intro.ipynb"},
            id="elsewhere",
        ),
        pytest.param(
            ["USER root", "RUN useradd -m -d /users/ada ada && echo x > /users/ada/a", "ENV HOME=", "USER ada"],
            "/users/ada",
            {"a"},
            id="the home of a name",
        ),
        pytest.param(
            ["USER root", "ENV HOME=", "RUN echo x > /root/a && chmod 600 /root/a", "WORKDIR /root"],
            "/root",
            {"a"},
            id="root",
        ),
        pytest.param(
            ["USER root", "RUN ln -s /home/jovyan /home/alias", "ENV HOME=/home/alias", "USER 1000:100"],
            "/home/jovyan",
            {"welcome.ipynb"},
            id="a link to the home",
        ),
        pytest.param(
            ["USER root", "RUN ln -s / /all", "ENV HOME=/all", "USER 1000:100"],
            "/home/jovyan",
            {"welcome.ipynb"},
            id="a link to the whole image",
        ),
        pytest.param(
            ["RUN echo x > a && chmod 600 a", "VOLUME /home/jovyan"],
            "/home/jovyan",
            {"welcome.ipynb", "a"},
            id="a volume",
        ),
        pytest.param(
            ["VOLUME /home", "USER root", "RUN usermod -d /home/jovyan jovyan", "ENV HOME=/", "USER jovyan"],
            "/home/jovyan",
            {"welcome.ipynb"},
            id="the whole image, in a volume",
        ),
        pytest.param(
            ["USER root", "RUN mkdir /app && echo x > /app/a && chmod 555 /app", "ENV HOME=/app", "USER 7000"],
            "/app",
            {"a"},
            id="of one level, of root, without a line in passwd",
        ),
    ],
)
async def test_the_home_is_the_users_whatever_the_workdir(
    image: Made, lines: list[str], workdir: str, names: set[str]
) -> None:
    found, files = await seen(await opened(await image(*lines)))
    assert found == workdir
    assert names <= set(files)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("lines", "home", "why"),
    [
        pytest.param(["RUN echo x > /tmp/a", "ENV HOME=/tmp"], "/tmp", "/tmp is the system's", id="tmp"),
        pytest.param(
            ["RUN mkdir -p data/in && echo x > a && echo x > data/a", "VOLUME /home/jovyan/data/in"],
            "/home/jovyan",
            "VOLUME /home/jovyan/data/in is in its way, as it neither lies directly in it nor apart",
            id="a volume deep in it",
        ),
        pytest.param(
            ["USER root", "RUN ln -s home /alias && echo x > a && chmod 644 a", "VOLUME /alias/jovyan", "USER 1000"],
            "/home/jovyan",
            "VOLUME /alias/jovyan is in its way, as it neither lies directly in it nor apart",
            id="a volume by a link",
        ),
        pytest.param(
            ["USER root", "RUN mkdir -m 700 /root/me && echo x > /root/me/a", "ENV HOME=/root/me"],
            "/root/me",
            "not everybody may enter the directory in which it lies",
            id="below a closed directory",
        ),
        pytest.param(
            [
                "USER root",
                "RUN mkdir /data && ln -s /data work && echo x > a && chmod 644 a",
                "VOLUME /home/jovyan/work",
                "USER 1000",
            ],
            "/home/jovyan",
            "VOLUME /home/jovyan/work is in its way, as it neither lies directly in it nor apart",
            id="a volume at a link in it",
        ),
        pytest.param(
            [
                "USER root",
                "RUN cp -a /home/jovyan '/home/my self' && echo x > '/home/my self/a'",
                'ENV HOME="/home/my self"',
            ],
            "/home/my self",
            "there are blanks or special characters in its path, which mounts of some runtimes do not take",
            id="with a blank",
        ),
    ],
)
async def test_a_home_whose_path_is_no_mount_point_is_elsewhere_and_told(
    image: Made, lines: list[str], home: str, why: str
) -> None:
    name = await image(*lines)
    backend = await opened(name)
    (note,) = [note for note in image_home.notes(backend.edition) if "VOLUME" not in note or why in note]
    assert note.startswith(f"the home of image {name}, {home}, is at /home/notebook in notebooks: {why}; ")
    workdir, files = await seen(backend)
    assert workdir == "/home/notebook"
    assert files["a"][1:] == [True, "x\n"]


@pytest.mark.engine
async def test_what_the_operator_mounts_in_the_home_is_there_and_hides_what_the_image_has(
    image: Made, tmp_path: Path
) -> None:
    name = await image("RUN mkdir data && echo image > data/a && echo image > data/b")
    (tmp_path / "a").write_text("operator")
    tmp_path.chmod(0o755)
    for directory in tmp_path.parents[:-2]:
        directory.chmod(0o755)
    backend = await opened(name, binds=(f"{tmp_path}:/home/jovyan/data", f"{tmp_path}:/home/jovyan/new"))
    workdir, files = await seen(backend)
    assert workdir == "/home/jovyan"
    assert (files["data/a"][2], files["new/a"][2]) == ("operator", "operator")
    assert "data/b" not in files
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.engine
async def test_a_volume_in_the_home_has_the_images_files_and_room_like_the_home(image: Made) -> None:
    name = await image(
        "RUN mkdir -m 500 ro && mkdir -p work/in && echo kept > work/in/a && head -c 3m /dev/zero > work/big",
        "VOLUME /home/jovyan/work /home/jovyan/ro /home/jovyan/new",
    )
    backend = await opened(name, home_size=8 << 20, tmp_size=1 << 20)
    await backend.start(KEY, backend.edition)
    (container,) = await backend.docker.containers.list(filters={"label": [f"tmppool.key={KEY}"]})
    found = await said(
        container,
        "cd /home/jovyan; echo more >> work/in/a && touch new/x && cat work/in/a; stat -c %a ro; stat -c %s work/big",
    )
    mounts = (await container.show())["Mounts"]
    await backend.stop(KEY)
    await backend.close()
    assert found == f"kept\nmore\n500\n{3 << 20}\n"
    assert [each["Destination"] for each in mounts] == ["/var/lib/tmppool"]


@pytest.mark.engine
async def test_a_home_that_the_runtime_mounts_with_the_mode_of_the_images_is_unpacked(image: Made) -> None:
    """As runtimes before runc 1.1 do."""
    backend = await opened(await image("RUN echo x > a && chmod 550 ."))
    config = backend.trial_config(KEY, ["sh", "-c", 'cat "$HOME/a"; stat -c %a "$HOME"'])
    mounts = config["HostConfig"]["Tmpfs"]
    mounts["/home/jovyan"] = mounts["/home/jovyan"].replace("mode=0700", "mode=0550")
    container = await engine.create(backend.docker, f"{SPEC.service}-mode", config)
    try:
        await engine.start(container)
        await engine.wait(backend.docker, container)
        assert await engine.log(container) == "x\n700\n"
    finally:
        await engine.remove(backend.docker, container.id)
        await backend.close()


@pytest.mark.engine
@pytest.mark.parametrize("user", ["ada", "1000", "1000:100"])
async def test_the_home_belongs_to_one_user_for_all_too(image: Made, user: str) -> None:
    name = await image("USER root", "RUN useradd ada && echo x > a && chmod 500 .", "USER 1000:100")
    backend = await opened(name, user=user)
    _, files = await seen(backend)
    assert files["a"][1:] == [True, "x\n"]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"home_size": 1 << 20}, "--home-size: 1048576 bytes are fewer than the "),
        ({"home_inodes": 256}, "--home-inodes: 256 inodes are fewer than the "),
    ],
)
async def test_a_home_that_does_not_fit_is_said_with_both_numbers_and_leaves_no_volume(
    image: Made, docker: engine.Client, changed: dict[str, int], words: str
) -> None:
    name = await image("RUN head -c 3000000 /dev/zero > big && touch $(seq 300)")
    with pytest.raises(BackendError) as caught:
        await opened(name, **changed)
    text = str(caught.value)
    assert text.startswith(words)
    assert f" of the home in image {name}: raise " in text
    assert not caught.value.transient
    (size,) = [int(word) for word in text.partition(" than the ")[2].split()[:1]]
    assert 300 < size < 5_000_000
    assert await engine.containers(docker, [f"tmppool.service={SPEC.service}"]) == []
    assert await engine.volumes(docker, [f"tmppool.service={SPEC.service}"]) == []


@pytest.mark.engine
async def test_a_volume_is_written_once_and_goes_with_its_image(image: Made, docker: engine.Client) -> None:
    first = await opened(DEFAULT_IMAGE)
    made = (await docker.volumes.list(filters={"label": [f"tmppool.service={SPEC.service}"]}))["Volumes"]
    assert [volume["Name"] for volume in made] == [first.image.volume]
    assert volume_labels(SPEC).items() <= made[0]["Labels"].items()
    put: list[str] = []
    genuine = engine.put_archive

    async def noted(*about: Any) -> None:
        put.append(about[2])
        await genuine(*about)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "put_archive", noted)
        again = await opened(DEFAULT_IMAGE)
        assert (put, again.image) == ([], first.image)
        other = await opened(await image("RUN echo x > x"))
        assert put == ["/var/lib/tmppool"]
    await first.start(KEY, first.edition)
    wanted = (other.image.volume,)
    await image_home.sweep(docker, SPEC, wanted)  # in use
    assert set(await engine.volumes(docker, ["tmppool.volume"])) >= {first.image.volume, *wanted}
    await first.stop(KEY)
    await image_home.sweep(docker, replace(SPEC, service="two"), ())
    await image_home.sweep(docker, replace(SPEC, pool="two"), ())
    await image_home.sweep(docker, SPEC, wanted)
    assert await engine.volumes(docker, [f"tmppool.service={SPEC.service}"]) == [*wanted]
    for backend in (first, again, other):
        await backend.close()


@pytest.mark.engine
async def test_a_notebook_whose_home_is_missing_fails_with_tars_words_and_the_next_has_it_again(
    docker: engine.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken out of the image once for all, and not within the time of a start."""
    backend = await opened(DEFAULT_IMAGE)
    assert await engine.remove_volume(docker, backend.image.volume)
    taken, genuine = [], image_home.take

    async def take(*about: Any) -> Any:
        taken.append(about)
        await asyncio.sleep(2)  # as long as a large home takes
        return await genuine(*about)

    monkeypatch.setattr(image_home, "take", take)
    impatient = replace(backend.edition, spec=replace(backend.edition.spec, start_timeout=3.0))
    failed = await asyncio.gather(*(backend.start(f"{KEY}{n}", impatient) for n in "ab"), return_exceptions=True)
    for error in failed:
        assert isinstance(error, StartError), error
        assert re.match(r"^a notebook of .* did not get the whole home of the image$", str(error))
        assert "Cannot open: No such file" in error.log_tail
        assert "tmppool: the home could not be unpacked: tar exited with 2" in error.log_tail
    assert len(taken) == 1
    _, files = await seen(backend)
    assert "welcome.ipynb" in files


@pytest.mark.engine
async def test_what_the_image_declares_as_volume_holds_its_files_and_no_disk(
    image: Made, docker: engine.Client
) -> None:
    name = await image(
        "USER root",
        "RUN mkdir -m 777 /full && echo kept > /full/file && chmod 666 /full/file && mkdir -m 750 /empty"
        " && chown 1000:100 /empty && mkdir /nest && echo x > /nest/file",
        "VOLUME /full /empty /home /new/one /nest /nest/below",
        "USER 1000:100",
    )
    backend = await opened(name, tmp_size=4 << 20)
    assert backend.image.empty == ("/empty", "/nest/below", "/new/one")
    try:
        await backend.start(KEY, backend.edition)
        (container,) = await docker.containers.list(filters={"label": [f"tmppool.key={KEY}"]})
        found = await said(
            container,
            "cat /full/file; echo x > /full/file; touch /new/one/x /nest/below/x && cd /empty; head -c 9m /dev/zero > x; stat -c %s x",
        )
        assert "kept" in found
        assert "/full/file: Read-only file system" in found
        assert "No space left on device" in found
        assert str(4 << 20) in found
        mounts = (await container.show())["Mounts"]
        assert {each["Destination"] for each in mounts if each["Type"] == "volume" and each["RW"]} == set()
    finally:
        await backend.stop(KEY)
        await backend.close()


@pytest.mark.engine
async def test_a_command_that_fails_is_not_mistaken_for_that() -> None:
    backend = await opened(DEFAULT_IMAGE, command=FAILING.replace("exit 3", "exit 73"))
    with pytest.raises(StartError, match=r"exited with code 73 before it answered$"):
        await backend.start(KEY, backend.edition)
    await backend.close()


@pytest.mark.engine
async def test_the_volume_cannot_be_written_from_a_notebook() -> None:
    backend = await opened(DEFAULT_IMAGE, user="0:0")
    await backend.start(KEY, backend.edition)
    (container,) = await backend.docker.containers.list(filters={"label": [f"tmppool.key={KEY}"]})
    (mount,) = (await container.show())["Mounts"]
    assert (mount["Destination"], mount["RW"]) == ("/var/lib/tmppool", False)
    await backend.stop(KEY)
    await backend.close()
