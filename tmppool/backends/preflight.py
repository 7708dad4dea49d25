"""Preparations before a pool's first container: inspect image and engine, create the network, and start a trial
container.
"""

import asyncio
import secrets
from dataclasses import replace

from tmppool.backends import container_limits, engine, seccomp
from tmppool.backends.base import ImageFacts, Spec
from tmppool.backends.container import (
    HOME_FAILED,
    EngineFacts,
    container_name,
    image_facts,
    network_config,
    network_name,
    trial_config,
)
from tmppool.errors import BackendError, ImageError
from tmppool.tasks import completed

TRIAL_TIMEOUT = 10.0  # seconds that a trial may take to run one command

# The answer is not among the words of the command: an entrypoint that quotes them is no proof that they were run.
_QUESTION = ("/bin/sh", "-c", "echo tmppool-$((6 * 7))")
_ANSWER = "tmppool-42"

_QUOTED = 200  # characters of what an image said that an error quotes
_LINES = 3  # the last of them

_REFUSALS = (
    ("invalid mount config", "--host-directories"),  # first: it quotes a path, which may contain any other phrase
    ("duplicate mount point", "--host-directories"),
    ("seccomp", "--seccomp"),
    ("unknown runtime", "--runtime"),
    ("/bin/sh", "--image"),
    ("uids and gids", "--container-user or --container-uids"),
    ("unable to find user", "--container-user"),
    ("unable to find group", "--container-user"),
    *container_limits.refusals(),
    ("bind", "--host-directories"),
    ("mount a directory onto a file", "--host-directories"),
    ("extra host", "--extra-hosts"),
    ("add-host", "--extra-hosts"),
)
"""Phrases in an engine's refusal and the settings that cause them; the first match decides."""


async def inspect_image(docker: engine.Client, name: str) -> ImageFacts:
    """Return the facts about an image. Raises ImageError if the engine does not have it; BackendError."""
    try:
        shown = await engine.image(docker, name)
    except engine.RefusedError as error:
        if error.status != engine.NOT_FOUND:
            raise
        raise ImageError(f"image {name} is not on the engine: build it or run `docker pull {name}` first") from error
    with engine.reading("inspect an image"):
        return image_facts(shown)


async def engine_facts(docker: engine.Client, wanted_seccomp: str) -> EngineFacts:
    """Return the engine-dependent options. Raises BackendError, also for a file that is not a seccomp profile."""
    text = await asyncio.to_thread(seccomp.load, wanted_seccomp)
    info = await engine.info(docker)
    # cgroup v2 has no swappiness, and the engine would warn for every container.
    return EngineFacts(text, has_swappiness=info.get("CgroupVersion") == "1" and bool(info.get("MemoryLimit")))


async def make_network(docker: engine.Client, spec: Spec) -> None:
    """Create the service's bridge network unless it exists. Raises BackendError."""
    name = network_name(spec)
    try:
        await engine.network(docker, name)
    except engine.RefusedError as error:
        if error.status != engine.NOT_FOUND:
            raise
        await engine.create_network(docker, network_config(spec))


async def try_out(docker: engine.Client, spec: Spec, image: ImageFacts, facts: EngineFacts) -> ImageFacts:
    """Run a command in a container that differs from a notebook's only in that; return the facts with what was learnt.

    An engine or its runtime refuses many settings (a seccomp profile, a limit, a user) only at the start. An entrypoint
    that does not run the command it is given, such as ``jupyter-lab``, is left out of notebooks' commands. Raises
    BackendError, which names the setting if it is known.
    """
    said = await _trial(docker, spec, image, facts)
    if not said:
        return image
    if image.entrypoint and HOME_FAILED not in said:
        bare = replace(image, entrypoint=())
        if not await _trial(docker, spec, bare, facts):
            entrypoint = engine.one_line(" ".join(image.entrypoint), _QUOTED)
            note = f"the entrypoint of image {spec.image} ({entrypoint}) does not run the command that it is given"
            return replace(bare, notes=(*image.notes, f"{note}: notebooks run theirs without it"))
    raise BackendError(
        f"--image: a container of {spec.image} {said}; an image needs /bin/sh and tar, which unpacks its home",
        transient=False,
    )


async def _trial(docker: engine.Client, spec: Spec, image: ImageFacts, facts: EngineFacts) -> str:
    """Return why no command ran in a container like a notebook's; empty if one did. Raises BackendError."""
    key = secrets.token_urlsafe()
    name, config = container_name(spec, key), trial_config(spec, key, image, facts, _QUESTION, is_strict=True)
    try:
        container = await engine.create(docker, name, config)
        await engine.start(container)
        return await _outcome(docker, container)
    except BackendError as error:
        is_refused = isinstance(error, engine.RefusedError)  # else the engine failed: the settings may be right
        raise BackendError(_refusal(spec, image, error), transient=not is_refused) from error
    finally:
        await completed(engine.remove(docker, name), "remove a trial")


async def _outcome(docker: engine.Client, container: engine.Container) -> str:
    try:
        async with asyncio.timeout(TRIAL_TIMEOUT):
            await engine.wait(container)
    except TimeoutError:
        how = f"ran no command within {TRIAL_TIMEOUT:.0f} s"
    else:
        how = ""
    lines = (await engine.log(container)).splitlines()
    if _ANSWER in (line.strip() for line in lines):
        return ""
    quoted = engine.one_line(" ".join(lines[-_LINES:]), _QUOTED) or "no output"
    return f"{how or await _end(docker, container)} ({quoted})"


async def _end(docker: engine.Client, container: engine.Container) -> str:
    shown = await engine.inspect(docker, container.id)
    with engine.reading("inspect a container"):
        state = shown["State"]
        return "ran out of memory" if state.get("OOMKilled") else f"ended with exit code {state['ExitCode']}"


def _refusal(spec: Spec, image: ImageFacts, error: BackendError) -> str:
    text = error.said if isinstance(error, engine.RefusedError) else str(error)
    causes = [(path, f"VOLUME {path} of the image") for path in image.volumes]
    setting = next((f"{cause}: " for words, cause in (*causes, *_REFUSALS) if words.lower() in text.lower()), "")
    return f"{setting}a container of {spec.image} with these settings could not be started: {' '.join(text.split())}"
