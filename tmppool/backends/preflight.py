"""Preparations before a pool's first container: facts about image and engine, the network, and a container that is
started to see that the engine takes it.
"""

import asyncio
import secrets

from tmppool.backends import container_limits, engine, seccomp
from tmppool.backends.base import ImageFacts, Spec
from tmppool.backends.container import (
    EngineFacts,
    container_name,
    image_facts,
    network_config,
    network_name,
    trial_config,
)
from tmppool.errors import BackendError, ImageError
from tmppool.tasks import completed

_REFUSALS = (
    ("invalid mount config", "--host-directories"),  # first: it tells a path, which may hold any of the words
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
"""Words of an engine's refusal and the setting that it is about; the first that are found decide."""


async def inspect_image(docker: engine.Client, name: str) -> ImageFacts:
    """Return the facts about an image. Raises ImageError when the engine has none of that name; BackendError."""
    try:
        shown = await engine.image(docker, name)
    except engine.RefusedError as error:
        if error.status != engine.NOT_FOUND:
            raise
        raise ImageError(f"image {name} is not on the engine: build it or run `docker pull {name}` first") from error
    with engine.reading("inspect an image"):
        return image_facts(shown)


async def engine_facts(docker: engine.Client, wanted_seccomp: str) -> EngineFacts:
    """Return what the engine is to be told. Raises BackendError, also for a file that is no seccomp profile."""
    text = await asyncio.to_thread(seccomp.load, wanted_seccomp)
    info = await engine.info(docker)
    # Version 2 has no such knob, and the engine would warn at every container.
    return EngineFacts(text, has_swappiness=info.get("CgroupVersion") == "1" and bool(info.get("MemoryLimit")))


async def make_network(docker: engine.Client, spec: Spec) -> None:
    """Make the service's bridge unless it is there. Raises BackendError."""
    name = network_name(spec)
    try:
        await engine.network(docker, name)
    except engine.RefusedError as error:
        if error.status != engine.NOT_FOUND:
            raise
        await engine.create_network(docker, network_config(spec))


async def try_out(docker: engine.Client, spec: Spec, image: ImageFacts, facts: EngineFacts) -> None:
    """Start a container that is like a notebook in all but its command, and remove it.

    Much of what an engine or its runtime refuses (a seccomp profile, a limit, a user) it refuses at the start only.
    Raises BackendError that names the setting where it can be told.
    """
    key = secrets.token_urlsafe()
    name = container_name(spec, key)
    config = {**trial_config(spec, key, image, facts, ()), "Entrypoint": ["/bin/sh", "-c", ":"]}
    try:
        container = await engine.create(docker, name, config)
        await engine.start(container)
    except BackendError as error:
        raise BackendError(_refusal(spec, error), transient=False) from error
    finally:
        await completed(engine.remove(docker, name), "remove a trial")


def _refusal(spec: Spec, error: BackendError) -> str:
    text = error.said if isinstance(error, engine.RefusedError) else str(error)
    setting = next((f"{option}: " for words, option in _REFUSALS if words in text.lower()), "")
    return f"{setting}a container of {spec.image} with these settings could not be started: {' '.join(text.split())}"
