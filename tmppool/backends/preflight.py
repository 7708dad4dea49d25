"""Preparations before a pool's first container: inspect image and engine, create the network, and start a trial
container.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path

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
from tmppool.tasks import completed, spawn

# An entrypoint that quotes the command, or expands it as one text, is no proof that it was run: only that makes the
# answer. The status is for one that keeps the output to itself.
_STATUS = 87
_QUESTION = ("/bin/sh", "-c", f'a=tmppool; b=42; echo "$a-$b"; exit {_STATUS}')
_ANSWER = "tmppool-42"
_PROMPT = 5.0  # seconds in which an entrypoint that prepares nothing has run its command

SERVER_GRACE = 10.0  # seconds that an entrypoint may listen, as with a database, and still run its command
_LOOK = 1.0  # seconds between two looks
# In /proc/net/tcp (proc(5), include/net/tcp_states.h): the state's column, that of a listener, the engine's own DNS.
_STATE, _LISTEN, _DNS = 3, "0A", "0B00007F:"

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
    that does not run the command it is given, such as ``jupyter-lab``, is left out of notebooks' commands; it has as
    long as a notebook's start. Raises BackendError, which names the setting if it is known.
    """
    with_it = await _trial(docker, spec, image, facts)
    said = with_it.failure
    if not said:
        return replace(image, is_plain=with_it.is_plain)
    if image.entrypoint and HOME_FAILED not in said:
        bare = replace(image, entrypoint=())
        if not (await _trial(docker, spec, bare, facts)).failure:
            entrypoint = engine.one_line(" ".join(image.entrypoint), _QUOTED)
            note = (
                f"the entrypoint of image {spec.image} ({entrypoint}) does not run the command that it is given:"
                f" a notebook's container with it {said}; notebooks run theirs without it and what it prepares"
            )
            return replace(bare, notes=(*image.notes, note))
    raise BackendError(
        f"--image: a container of {spec.image} {said}; an image needs /bin/sh and tar, which unpacks its home",
        transient=False,
    )


@dataclass(frozen=True, slots=True)
class _Trial:
    """The outcome of a trial: why no command ran, empty if one did; and whether it ran as without an entrypoint."""

    failure: str
    is_plain: bool = False


async def _trial(docker: engine.Client, spec: Spec, image: ImageFacts, facts: EngineFacts) -> _Trial:
    """Run a command in a container like a notebook's. Raises BackendError."""
    key = secrets.token_urlsafe()
    name, config = container_name(spec, key), trial_config(spec, key, image, facts, _QUESTION, is_strict=True)
    try:
        container = await engine.create(docker, name, config)
        await engine.start(container)
        return await _outcome(docker, container, spec.start_timeout)
    except BackendError as error:
        is_refused = isinstance(error, engine.RefusedError)  # else the engine failed: the settings may be right
        raise BackendError(_refusal(spec, image, error), transient=not is_refused) from error
    finally:
        await completed(engine.remove(docker, name), "remove a trial")


async def _outcome(docker: engine.Client, container: engine.Container, seconds: float) -> _Trial:
    began = time.monotonic()
    how = await _running_still(docker, container, seconds)
    is_prompt = time.monotonic() - began < _PROMPT
    text = await engine.log(container)
    if _ANSWER in text:
        return _Trial("", is_prompt and _ANSWER in (line.strip() for line in text.splitlines()))
    how = how or await _end(docker, container)
    if not how:
        return _Trial("")
    quoted = engine.one_line(" ".join(text.splitlines()[-_LINES:]), _QUOTED) or "no output"
    return _Trial(f"{how} ({quoted})")


async def _running_still(docker: engine.Client, container: engine.Container, seconds: float) -> str:
    """Wait until a container has ended; return why that was given up, empty if it has.

    An entrypoint that listens is soon taken for a server, which never ends: its wait would delay each start.
    """
    waiting = spawn(engine.wait(docker, container), "watch a trial", awaited=True)
    began, passed = time.monotonic(), 0.0
    try:
        while passed < seconds:
            await asyncio.wait({waiting}, timeout=min(_LOOK, seconds - passed))
            passed = time.monotonic() - began
            if waiting.done():
                waiting.result()
                return ""
            if passed >= SERVER_GRACE and await _listens(docker, container):
                return f"listens on a port, and ran no command within {passed:.0f} s"
    finally:
        waiting.cancel()
    return f"ran no command within {seconds:.0f} s (--start-timeout)"


async def _listens(docker: engine.Client, container: engine.Container) -> bool:
    """Return True if something in a container on this machine listens on a TCP port."""
    shown = await engine.inspect(docker, container.id)
    with engine.reading("inspect a container"):
        process = Path(f"/proc/{int(shown['State'].get('Pid', 0))}")
    return await asyncio.to_thread(_has_listener, process, container.id)


def _has_listener(process: Path, container_id: str) -> bool:
    try:
        if container_id not in (process / "mountinfo").read_text(errors="replace"):
            return False  # the engine is elsewhere
        rows = [row.split() for name in ("tcp", "tcp6") for row in (process / "net" / name).read_text().splitlines()]
    except OSError:
        return False
    return any(len(row) > _STATE and row[_STATE] == _LISTEN and not row[1].startswith(_DNS) for row in rows)


async def _end(docker: engine.Client, container: engine.Container) -> str:
    """Return how a container ended; empty if as the command ends."""
    shown = await engine.inspect(docker, container.id)
    with engine.reading("inspect a container"):
        state = shown["State"]
        if state["ExitCode"] == _STATUS:
            return ""
        return "ran out of memory" if state.get("OOMKilled") else f"ended with exit code {state['ExitCode']}"


def _refusal(spec: Spec, image: ImageFacts, error: BackendError) -> str:
    text = error.said if isinstance(error, engine.RefusedError) else str(error)
    causes = [(path, f"VOLUME {path} of the image") for path in image.volumes]
    setting = next((f"{cause}: " for words, cause in (*causes, *_REFUSALS) if words.lower() in text.lower()), "")
    return f"{setting}a container of {spec.image} with these settings could not be started: {' '.join(text.split())}"
