"""The workshop image as it can be built without Arch Linux: on a Debian that has what pacman would have installed."""

import asyncio
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tmppool.build_image import build
from tmppool.recipes import BuildOptions, Recipe

HERE = Path(__file__).parent
WITH_KERNELS = HERE / "debian-with-kernels"
NAME = "archlinux"
CHECK = "/opt/notebook/libexec/check"
NOTHING = tuple((f"WITH_{part}", "no") for part in ("R", "JULIA", "OCTAVE", "SCIENCE"))


def docker(*command: str, stdin: bytes = b"") -> tuple[int, str]:
    """Run a command of the engine, with its classic builder: exit code, and all that it printed."""
    environ = {**os.environ, "DOCKER_BUILDKIT": "0"}
    result = subprocess.run(["docker", *command], check=False, input=stdin, capture_output=True, env=environ)
    return result.returncode, (result.stdout + result.stderr).decode()


def made(*command: str, stdin: bytes = b"") -> str:
    code, output = docker(*command, stdin=stdin)
    assert code == 0, output[-2000:]
    return output


@contextmanager
def names_kept(*names: str) -> Iterator[None]:
    """The operator's own images of these names are theirs again afterwards."""
    known = {name: image_id(name) for name in names}
    try:
        yield
    finally:
        for name, was in known.items():
            now = image_id(name)
            if was and now != was:
                made("tag", was, name)
            elif now and not was:
                made("rmi", "--force", name)


def image_id(name: str) -> str:
    """Return what the engine knows by this name, or nothing."""
    code, output = docker("image", "inspect", "--format={{.Id}}", name)
    return "" if code else output.strip()


async def bare() -> str:
    """Return the base that the Debian image is built on: Python and tini, and no kernel's language."""
    await build("debian")
    recipe = await asyncio.to_thread(Recipe.read, "debian")
    return recipe.base(BuildOptions())


async def system() -> str:
    """Return a base with git, Octave and R from Debian's packages."""
    base = await bare()
    content = hashlib.sha256(base.encode() + (WITH_KERNELS / "Dockerfile").read_bytes()).hexdigest()[:8]
    name = f"tmppool/test-system:{content}"
    if docker("image", "inspect", name)[0]:
        made("build", f"--tag={name}", f"--build-arg=BASE={base}", str(WITH_KERNELS))
    return name


async def full_options() -> BuildOptions:
    return BuildOptions(base=await system(), arguments=(("WITH_JULIA", "no"),))


async def built(options: BuildOptions, *more: str, files: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Build with the engine's own command, with other ``files`` in the context."""
    return await asyncio.to_thread(_built, options, files or {}, *more)


def _built(options: BuildOptions, files: Mapping[str, str], *more: str) -> tuple[int, str]:
    options, recipe = options.resolved(os.environ), Recipe.read(NAME)
    changed = {path: text.encode() for path, text in files.items()}
    context = Recipe(NAME, {**recipe.files, **changed}).context(options.certificates(), int(time.time()))
    arguments = recipe.build_arguments(options, os.environ)
    given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    return docker("build", "--force-rm", *given, *more, "-", stdin=context)


def said(image: str, *command: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run a command in the image as a visitor: read-only, without a network, as a user of that notebook alone."""
    profile = (
        "--read-only",
        "--network=none",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--user=20001:100",
    )
    home = "--tmpfs=/tmp:rw,exec,nosuid,nodev,size=128m,mode=1777"
    return docker("run", "--rm", *profile, home, *options, image, *command)


def checked(image: str, mutation: str, *checks: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Change the image's files as root, then run its check as the image's own user."""
    own_user = f'exec setpriv --reuid=1000 --regid=100 --clear-groups {CHECK} "$@"'
    shell = ("sh", "-ec", f"{mutation}\n{own_user}", "sh")
    return docker("run", "--rm", "--user=0:0", *(options or ("--network=none",)), image, *shell, *checks)
