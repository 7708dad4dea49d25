"""What a notebook's container is, as pure functions: settings in, the engine's JSON out.

Field names and meanings: Docker Engine API v1.41, ContainerCreate. What breaks when a limit is lowered is said in
the README's table of settings.
"""

from dataclasses import dataclass
from typing import Any

from tmppool.backends.base import Spec
from tmppool.running import digest

SERVICE_LABEL = "tmppool.service"
POOL_LABEL = "tmppool.pool"
KEY_LABEL = "tmppool.key"
LANDING_LABEL = "tmppool.landing"
SECRET_LABEL = "tmppool.secret"  # noqa: S105 - a name

HOME = "/home/notebook"
"""Where the writable home is mounted: beside the image's own home, so that this one can be copied from."""

_TOKEN = "JUPYTER_TOKEN"  # noqa: S105 - the variable's name (Jupyter Server documentation, security)
_CPU_PERIOD = 100_000  # microseconds, the kernel's default
_HOME_INODES = 32_768
_TMP_INODES = 16_384
# Times are not kept: to the visitor these files are new.
_LAUNCH = 'cp -RP "$TMPPOOL_SEED/." "$HOME/"; cd "$HOME" && exec /bin/sh -c "$0"'


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the service needs to know of an image: its id, the home to copy, and where a visitor lands."""

    id: str = ""
    seed: str = "/home/jovyan"
    landing: str = "/tree"
    has_init: bool = False


def image_facts(shown: dict[str, Any]) -> ImageFacts:
    """Read the engine's answer to ImageInspect."""
    config = shown.get("Config") or {}
    env = dict(pair.split("=", 1) for pair in config.get("Env") or () if "=" in pair)
    working_dir = config.get("WorkingDir") or "/"
    seed = working_dir if working_dir != "/" else env.get("HOME", "/home/jovyan")
    entrypoint = " ".join(config.get("Entrypoint") or ())
    landing = (config.get("Labels") or {}).get(LANDING_LABEL, "/tree")
    return ImageFacts(shown.get("Id", ""), seed, landing, has_init="tini" in entrypoint or "dumb-init" in entrypoint)


def labels(spec: Spec) -> dict[str, str]:
    """Return what makes a container ours; nothing without all of these is ever touched."""
    return {SERVICE_LABEL: spec.service, POOL_LABEL: spec.pool}


def container_name(spec: Spec, key: str) -> str:
    return f"tmppool-{spec.service}-{digest(key)}"


def network_name(spec: Spec) -> str:
    return f"tmppool-{spec.service}-{spec.network}"


def network_config(spec: Spec) -> dict[str, Any]:
    """Return NetworkCreate's body: one bridge, no traffic between containers, no way out when isolated."""
    return {
        "Name": network_name(spec),
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Internal": spec.network == "isolated",
        "EnableIPv6": False,
        "Options": {"com.docker.network.bridge.enable_icc": "false"},
        "Labels": {SERVICE_LABEL: spec.service},
    }


def container_config(spec: Spec, key: str, token: str, image: ImageFacts) -> dict[str, Any]:
    """Return ContainerCreate's body for one notebook."""
    ip = "127.0.0.1" if spec.network == "none" else "0.0.0.0"  # noqa: S104 - inside the container
    command = spec.render(key, ip=ip, port=spec.port, token=token)
    return {
        "Image": image.id or spec.image,
        "User": spec.user or "1000:100",
        "Hostname": "notebook",
        "WorkingDir": HOME,
        "Cmd": ["/bin/sh", "-c", _LAUNCH, command],
        "Tty": False,
        "OpenStdin": False,
        "Env": _environment(token, image),
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGKILL",
        "Labels": {**labels(spec), KEY_LABEL: key},
        "HostConfig": _host_config(spec, image),
    }


def token_of(shown: dict[str, Any]) -> str:
    """Return the token that a container of ours was made with (ContainerInspect's answer)."""
    prefix = f"{_TOKEN}="
    env = shown["Config"].get("Env") or ()
    return next((pair.removeprefix(prefix) for pair in env if pair.startswith(prefix)), "")


def secret_of(shown: dict[str, Any]) -> str:
    """Return what only the service knows of a container of ours; nothing for one that an older service made."""
    return str((shown["Config"].get("Labels") or {}).get(SECRET_LABEL, ""))


def _environment(token: str, image: ImageFacts) -> list[str]:
    return [
        f"HOME={HOME}",
        f"XDG_CACHE_HOME={HOME}/.cache",
        "USER=jovyan",
        "LOGNAME=jovyan",
        "SHELL=/bin/bash",
        f"TMPPOOL_SEED={image.seed}",
        f"{_TOKEN}={token}",
        # Numerical libraries start a thread per core of the host, which the quota then throttles.
        "OMP_NUM_THREADS=1",
        "OPENBLAS_NUM_THREADS=1",
    ]


def _host_config(spec: Spec, image: ImageFacts) -> dict[str, Any]:
    config = {
        "NetworkMode": "none" if spec.network == "none" else network_name(spec),
        "Privileged": False,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "ReadonlyRootfs": True,
        "Tmpfs": {
            HOME: _tmpfs(spec.home_size, _HOME_INODES, spec.user or "1000:100"),
            "/tmp": _tmpfs(spec.tmp_size, _TMP_INODES),  # noqa: S108 - the container's own
        },
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "Memory": spec.memory,
        "MemorySwap": spec.memory,  # equal to Memory: no swap
        "PidsLimit": spec.pids,
        "CpuPeriod": _CPU_PERIOD,
        "OomScoreAdj": 500,  # the kernel takes a notebook before the service or the engine
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        "PublishAllPorts": False,
    }
    if spec.cpu_quota:
        config["CpuQuota"] = spec.cpu_quota
    if spec.cpu_shares:
        config["CpuShares"] = spec.cpu_shares
    if not image.has_init:
        config["Init"] = True
    if spec.binds:
        config["Binds"] = list(spec.binds)
    if spec.extra_hosts:
        config["ExtraHosts"] = list(spec.extra_hosts)
    return config


def _tmpfs(size: int, inodes: int, user: str = "") -> str:
    uid, _, gid = user.partition(":")
    # Of a user by name only the image knows the number.
    owner = f"uid={uid},gid={gid},mode=0700" if uid.isdigit() and gid.isdigit() else "mode=1777"
    return f"rw,exec,nosuid,nodev,size={size},nr_inodes={inodes},{owner}"
