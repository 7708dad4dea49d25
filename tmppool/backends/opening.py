"""What is found out and made once, before a pool's first container: the image, the engine, the network, and whether
the engine takes such a container at all.
"""

import asyncio
import secrets

import aiodocker

from tmppool.backends import engine, seccomp
from tmppool.backends.base import Spec
from tmppool.backends.container import (
    EngineFacts,
    ImageFacts,
    canary_labels,
    container_config,
    container_name,
    image_facts,
    network_config,
    network_name,
)
from tmppool.errors import BackendError, ImageError
from tmppool.tasks import spawn

_SETTINGS = (
    ("invalid mount config", "--host-directories"),  # first: it tells a path, which may hold any of the words
    ("duplicate mount point", "--host-directories"),
    ("seccomp", "--seccomp"),
    ("unknown runtime", "--runtime"),
    ("/bin/sh", "--image"),
    ("uids and gids", "--container-user or --container-uids"),
    ("unable to find user", "--container-user"),
    ("unable to find group", "--container-user"),
    ("rlimit", "--nofile-limit, --memlock-limit or --sigpending-limit"),
    ("memory limit", "--mem-limit"),
    ("cpu", "--cpu-quota or --cpu-shares"),
    ("tmpfs", "--home-size, --home-inodes, --tmp-size or --tmp-inodes"),
    ("shm", "--shm-size"),
    ("pids", "--pids-limit"),
    ("oom_score", "--oom-score"),
    ("oom score", "--oom-score"),
    ("bind", "--host-directories"),
    ("mount a directory onto a file", "--host-directories"),
    ("extra host", "--extra-hosts"),
    ("add-host", "--extra-hosts"),
)
"""Which setting an engine's refusal is about, by words of it."""


async def inspect_image(docker: aiodocker.Docker, name: str) -> ImageFacts:
    """Raises ImageError when the engine has no such image; BackendError."""
    try:
        shown = await engine.call("inspect an image", docker.images.inspect(name), engine.LIST_TIMEOUT)
    except aiodocker.DockerError as error:
        raise ImageError(f"image {name} is not on the engine: build it or run `docker pull {name}` first") from error
    return image_facts(shown)


async def engine_facts(docker: aiodocker.Docker, wanted_seccomp: str) -> EngineFacts:
    """Raises BackendError, also when the file of a seccomp profile is none."""
    text = await asyncio.to_thread(seccomp.load, wanted_seccomp)
    try:
        info = await engine.call("tell about itself", docker.system.info(), engine.LIST_TIMEOUT)
    except aiodocker.DockerError as error:
        raise BackendError(f"the engine answered {error.status}") from error
    # Version 2 has no such knob, and the engine would warn at every container.
    return EngineFacts(text, has_swappiness=info.get("CgroupVersion") == "1" and bool(info.get("MemoryLimit")))


async def make_network(docker: aiodocker.Docker, spec: Spec) -> None:
    """Make the service's bridge unless it is there. Raises BackendError."""
    name = network_name(spec)
    try:
        await engine.call("inspect a network", docker.networks.get(name), engine.LIST_TIMEOUT)
    except aiodocker.DockerError:
        config = network_config(spec)
        await engine.call("create a network", docker.networks.create(config), engine.CREATE_TIMEOUT)


async def try_out(docker: aiodocker.Docker, spec: Spec, image: ImageFacts, facts: EngineFacts) -> None:
    """Start a container that is like a notebook in all but its command, and remove it.

    Much of what an engine or its runtime refuses (a seccomp profile, a limit, a user) it refuses at the start only.
    Raises BackendError that names the setting where it can be told.
    """
    key = secrets.token_urlsafe()
    name = container_name(spec, key)
    uid = spec.uids[-1] if spec.user is None else None  # the one that is refused if any is
    config = container_config(spec, key, "", image, facts, uid=uid)
    config |= {"Entrypoint": ["/bin/sh", "-c", ":"], "Cmd": [], "Labels": canary_labels(spec)}
    try:
        container = await engine.create(docker, name, config)
        await engine.call("start a container", container.start(), engine.CREATE_TIMEOUT)
    except (BackendError, aiodocker.DockerError) as error:
        raise BackendError(_refusal(spec, error), transient=False) from error
    finally:
        await asyncio.shield(spawn(engine.remove(docker, name), "remove a trial", awaited=True))


def _refusal(spec: Spec, error: BackendError | aiodocker.DockerError) -> str:
    text = str(error.message) if isinstance(error, aiodocker.DockerError) else str(error)
    setting = next((f"{option}: " for words, option in _SETTINGS if words in text.lower()), "")
    return f"{setting}a container of {spec.image} with these settings cannot be started: {' '.join(text.split())}"
