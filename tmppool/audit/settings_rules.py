"""Rules on the settings and the images. Each rule uses only the gathered facts."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tmppool.audit import machine_sums
from tmppool.audit.machine import Facts
from tmppool.audit.rule import Opinion, Rule, Severity, fails, holds, passes, unknown
from tmppool.backends import image_home
from tmppool.backends.base import ImageFacts

LOOPBACK = ("127.0.0.1", "::1", "localhost")

_SECRET = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|(?:^|_)(?:API_?|ACCESS_?|PRIVATE_?)?KEY(?:$|_)", re.IGNORECASE
)

_PUBLIC = ("GPG_KEY",)  # in Docker's python images: the source's signer


@dataclass(frozen=True, slots=True)
class Deployment:
    """The configured pools on this machine; ``admin_ip``: the address of the admin listener.

    ``homes``: the facts about each image whose home was read.
    """

    pools: tuple[machine_sums.Planned, ...]
    machine: Facts
    admin_ip: str = "127.0.0.1"
    homes: Mapping[str, ImageFacts] = field(default_factory=dict)


def _pids(deployment: Deployment) -> Opinion:
    if deployment.machine.sums.processes is None:
        return unknown("the PID limit of the engine's machine cannot be read here")
    said = machine_sums.pids(deployment.pools, deployment.machine.sums)
    return fails(said) if said else passes("the machine has PIDs for all processes of all notebooks")


def _memory(
    judge: Callable[[tuple[machine_sums.Planned, ...], machine_sums.Machine], str], fine: str
) -> Callable[[Deployment], Opinion]:
    def opinion(deployment: Deployment) -> Opinion:
        if deployment.machine.sums.memory is None:
            return unknown("the engine does not report its memory")
        said = judge(deployment.pools, deployment.machine.sums)
        return fails(said) if said else passes(fine)

    return opinion


def _tmpfs(deployment: Deployment) -> Opinion:
    said = machine_sums.tmpfs_of_one(deployment.pools)
    return fails(said) if said else passes("the home, /tmp and /dev/shm fit into a notebook's memory")


def _files(deployment: Deployment) -> Opinion:
    most = deployment.machine.kernel.get("file_max", "")
    if not most.isdigit():
        return unknown("cannot be read here")
    wanted = sum(pool.capacity * pool.spec.pids * pool.spec.nofile for pool in deployment.pools)
    return holds(wanted <= int(most), f"all notebooks together may open {wanted} files; the machine allows {most}")


def _users(deployment: Deployment) -> Opinion:
    shared = [pool.name for pool in deployment.pools if pool.spec.user is not None]
    if not shared:
        return passes("every notebook has a UID of its own")
    return fails(f"all notebooks of pool {shared[0]} are one user, whose limits of the kernel they share")


def _network(deployment: Deployment) -> Opinion:
    found = [f"{pool.name} is {pool.spec.network}" for pool in deployment.pools if pool.spec.network != "none"]
    return holds(not found, "no notebook has a network", f"the network of pool {' and '.join(found)}")


def _system_calls(deployment: Deployment) -> Opinion:
    found = [f"{pool.name} has {pool.spec.seccomp}" for pool in deployment.pools if pool.spec.seccomp != "tmppool"]
    return holds(not found, "tmppool's own profile", f"pool {' and '.join(found)} instead of tmppool's own profile")


def _admin(deployment: Deployment) -> Opinion:
    return holds(deployment.admin_ip in LOOPBACK, f"the admin listener is at {deployment.admin_ip}")


def _image_user(deployment: Deployment) -> Opinion:
    users = {
        name: str((shown.get("Config") or {}).get("User") or "") for name, shown in deployment.machine.images.items()
    }
    if not users:
        return unknown("no image was inspected")
    found = [name for name, user in users.items() if user.partition(":")[0] in ("", "0", "root")]
    return holds(not found, "no image names root as its user", f"{' and '.join(found)} would run as root elsewhere")


def _image_home(deployment: Deployment) -> Opinion:
    if not deployment.homes:
        return unknown("no image's home was read")
    found = [image_home.left_out(name, image) for name, image in deployment.homes.items() if image.left_out]
    return holds(not found, "every notebook has all of the image's home", "; ".join(found))


def _is_secret(name: str, value: str) -> bool:
    return bool(value and _SECRET.search(name) and name not in _PUBLIC)


def _image_secrets(deployment: Deployment) -> Opinion:
    if not deployment.machine.images:
        return unknown("no image was inspected")
    found = [
        f"{pair.partition('=')[0]} in {name}"
        for name, shown in deployment.machine.images.items()
        for pair in (shown.get("Config") or {}).get("Env") or ()
        if _is_secret(*pair.partition("=")[::2])
    ]
    return holds(not found, "no variable of an image looks like a secret", f"every visitor can read {', '.join(found)}")


_LOW, _MEDIUM, _HIGH, _CRITICAL = Severity

RULES: tuple[Rule[Deployment], ...] = (
    Rule(machine_sums.PIDS, "limits", _HIGH, "Lower --pool-size or --pids-limit, or raise kernel.pid_max.", _pids),
    Rule(machine_sums.MEMORY, "limits", _HIGH, "Lower --mem-limit.",
         _memory(machine_sums.memory_of_one, "each notebook fits into the machine")),
    Rule("memory-sum", "limits", _MEDIUM, "Lower --pool-size or --mem-limit, or add memory.",
         _memory(machine_sums.memory_of_all, "all notebooks fit into the machine together")),
    Rule("tmpfs-sum", "limits", _LOW, "Raise --mem-limit, or lower --home-size, --tmp-size or --shm-size.", _tmpfs),
    Rule("files-sum", "limits", _LOW, "Lower --nofile-limit, or raise fs.file-max.", _files),
    Rule("one-user-each", "settings", _MEDIUM, "Leave out --container-user.", _users),
    Rule("network", "settings", _MEDIUM, "Use --network=none.", _network),
    Rule("system-calls", "settings", _LOW, "Leave out --seccomp.", _system_calls),
    Rule("admin-listener", "settings", _MEDIUM, "Leave --admin-ip at 127.0.0.1 and reach it by ssh.", _admin),
    Rule("image-user", "image", _LOW, "End the image's Dockerfile with USER and a UID other than 0.", _image_user),
    Rule("image-home", "image", _MEDIUM, "Give what is named to the image's user, or remove it.", _image_home),
    Rule("image-secrets", "image", _HIGH, "Build the image without them: ENV stays in it for good.", _image_secrets),
)  # fmt: skip
