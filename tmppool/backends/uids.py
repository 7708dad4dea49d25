"""A UID for each notebook: the kernel counts much by user, over all containers of a host alike.

Open inotify watches, pipes' pages, keys, pending signals and processes are limits of a user, not of a container
(inotify(7), pipe(7), keyrings(7), getrlimit(2)): of two notebooks with one number, one could starve the other.

What is in use is asked of the engine, by a label that every container with a number of its own carries, whosever
service it is. What this process has taken and not yet given back counts too. Another process may take the same number
between that question and its container; so each looks again once its own is made, and whoever then sees two steps
back. Of two, the one whose container came later sees both.
"""

import secrets
from collections.abc import Collection

from tmppool.backends import engine
from tmppool.errors import StartError

UID_LABEL = "tmppool.uid"

_taken: dict[str, int] = {}  # by the container's name; of all pools of this process, which may share a range


async def take(docker: engine.Client, numbers: range, holder: str) -> int:
    """Take a number that no container of this engine has, for the container named ``holder``.

    Raises StartError when all are in use; BackendError.
    """
    used = set(await _in_use(docker, UID_LABEL)) | set(_taken.values())
    number = pick(numbers, used)
    if number is None:
        raise StartError(
            f"all {len(numbers)} UIDs {numbers[0]}-{numbers[-1]} (--container-uids) are in use on this engine"
        )
    _taken[holder] = number
    return number


async def is_alone(docker: engine.Client, number: int) -> bool:
    """Return True if at most one container has the UID. Raises BackendError."""
    return len(await _in_use(docker, f"{UID_LABEL}={number}")) <= 1


def give_back(holder: str) -> None:
    """Let the number be taken again; only after the container is gone."""
    _taken.pop(holder, None)


def pick(numbers: range, used: Collection[int]) -> int | None:
    """Return one of ``numbers`` that is not used: from a random one on, so that two services seldom meet."""
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
