"""A UID for each notebook, since the kernel enforces many limits per user across all containers of a host.

Inotify watches, pipe pages, keys, pending signals and processes are limited per user, not per container (inotify(7),
pipe(7), keyrings(7), getrlimit(2)): of two notebooks with the same UID, one could starve the other.

The UIDs in use are read from a label of the engine's containers, of all services; UIDs that this process has taken
and not given back count too. Another process may take the same UID before this one's container exists. To detect that
race, each checks again after creating its container and backs off if it sees two: the later of the two always does.
"""

import secrets
from collections.abc import Collection

from tmppool.backends import engine
from tmppool.errors import StartError

UID_LABEL = "tmppool.uid"

_taken: dict[str, int] = {}  # by container name, for all pools of this process, which may share a range


async def take(docker: engine.Client, numbers: range, container_name: str) -> int:
    """Take a UID that no container of this engine has, for the container named ``container_name``.

    Raises StartError if all are in use; BackendError.
    """
    used = set(await _in_use(docker, UID_LABEL)) | set(_taken.values())
    number = pick(numbers, used)
    if number is None:
        raise StartError(
            f"all {len(numbers)} UIDs {numbers[0]}-{numbers[-1]} (--container-uids) are in use on this engine"
        )
    _taken[container_name] = number
    return number


async def is_alone(docker: engine.Client, number: int) -> bool:
    """Return True if at most one container has this UID. Raises BackendError."""
    return len(await _in_use(docker, f"{UID_LABEL}={number}")) <= 1


def give_back(container_name: str) -> None:
    """Release the UID of ``container_name``; it stays in use while a container with its label exists."""
    _taken.pop(container_name, None)


def pick(numbers: range, used: Collection[int]) -> int | None:
    """Return an unused one of ``numbers``, searching from a random start so that two services rarely collide."""
    first = secrets.randbelow(len(numbers))
    for step in range(min(len(numbers), len(used) + 1)):
        number = numbers[(first + step) % len(numbers)]
        if number not in used:
            return number
    return None


async def _in_use(docker: engine.Client, label: str) -> list[int]:
    found = await engine.containers(docker, [label])
    with engine.reading("list containers"):
        labels = [container["Labels"].get(UID_LABEL, "") for container in found]
        return [int(number) for number in labels if number.isdecimal()]
