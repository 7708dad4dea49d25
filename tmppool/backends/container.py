"""Pure functions between a pool's settings and the engine's JSON for a notebook's container.

Field names and meanings: Docker Engine API v1.41, ContainerCreate. The README's table of settings says what breaks
when a limit is lowered.
"""

import hashlib
import json
import posixpath
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tmppool.backends import container_limits, seccomp
from tmppool.backends.base import ImageFacts, Spec
from tmppool.backends.container_limits import SEED, SEED_FILE, TMP
from tmppool.backends.home_paths import is_below
from tmppool.backends.uids import UID_LABEL
from tmppool.errors import BackendError
from tmppool.keys import id_of
from tmppool.running import Given

SERVICE_LABEL = "tmppool.service"
POOL_LABEL = "tmppool.pool"
KEY_LABEL = "tmppool.key"
CANARY_LABEL = "tmppool.canary"
LANDING_LABEL = "tmppool.landing"
READY_LABEL = "tmppool.ready"
EDITION_LABEL = "tmppool.profile"
SECRET_LABEL = "tmppool.secret"  # noqa: S105 - a name
GIVEN_LABEL = "tmppool.given"
OWNER_LABEL = "tmppool.owner"
HOME_LABEL = "tmppool.volume"

HOME_FAILED = "tmppool: the home could not be unpacked"
"""What a container prints, and then exits, if its notebook would not have the whole home."""

_SERVED_BY = (SECRET_LABEL, EDITION_LABEL, GIVEN_LABEL)
_TOKEN = "JUPYTER_TOKEN"  # noqa: S105 - the variable's name (Jupyter Server documentation, security)
_SHM = "/dev/shm"  # noqa: S108 - the container's own
_CPU_PERIOD = 100_000  # microseconds, the kernel's default
_GROUP = 100  # "users", as in Debian's base and in the Jupyter Docker Stacks
# Terminals are opened with $SHELL, which names nothing in an image without bash.
_SHELL = 'command -v "$SHELL" >/dev/null 2>&1 || export SHELL=/bin/sh'
# Modes as in the image (p), its owner's UID replaced by the notebook's (o), times new (m). The words behind each script
# are the working directory, the image's entrypoint and the command. Old runtimes give the mount the mode of the image's
# directory, which may be read-only.
_UNPACK = f'chmod 0700 "$HOME" 2>/dev/null; tar -xopmf {SEED_FILE} -C "$HOME"'
_LAUNCH = (
    f'{_UNPACK} || {{ echo "{HOME_FAILED}: tar exited with $?" >&2; exit 73; }}; {_SHELL};'
    ' cd "$HOME/$0" 2>/dev/null || cd "$HOME" || exit; exec "$@"'
)
_LAUNCH_ANYWAY = f'{_UNPACK} 2>/dev/null; {_SHELL}; cd "$HOME/$0" 2>/dev/null || cd "$HOME" 2>/dev/null; exec "$@"'

# Each list replaces the engine's default, which on an old engine lacks paths found unsafe since. The engine ignores
# paths that the kernel does not have.
_MASKED_PROC = """
    acpi allocinfo asound bootconfig buddyinfo bus cmdline config.gz consoles crypto device-tree devices
    diskstats dma driver dynamic_debug execdomains fb fs interrupts iomem ioports irq kallsyms kcore key-users
    keys kmsg kpagecgroup kpagecount kpageflags latency_stats lock_stat locks mdstat misc modules mtrr
    pagetypeinfo partitions pressure sched_debug schedstat scsi slabinfo softirqs swaps timer_list timer_stats
    vmallocinfo vmcore zoneinfo
"""
_MASKED_SYS = """
    devices/virtual/dmi devices/virtual/powercap firmware fs/bpf fs/pstore hypervisor kernel/boot_params
    kernel/btf kernel/debug kernel/iommu_groups kernel/irq kernel/notes kernel/security kernel/slab
    kernel/tracing kernel/vmcoreinfo module power
"""
MASKED = (*(f"/proc/{name}" for name in _MASKED_PROC.split()), *(f"/sys/{name}" for name in _MASKED_SYS.split()))
"""Files and directories that are empty in a notebook: facts about the host and what else runs on it.

Stalls (``pressure``) can be subscribed to at the host's cost, and locks, keys and interrupts tell of neighbours. What
numerical libraries and psutil read stays: ``cpuinfo``, ``meminfo``, ``stat``, ``vmstat``, ``loadavg``, and the CPUs and
memory nodes below ``/sys/devices/system``.
"""
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """Options that depend on the engine. ``seccomp``: a profile's JSON text, or None for the engine's own profile."""

    seccomp: str | None = seccomp.PROFILE
    has_swappiness: bool = False


def image_facts(shown: dict[str, Any]) -> ImageFacts:
    """Read the facts from the engine's answer to ImageInspect."""
    config = shown.get("Config") or {}
    env = dict(pair.split("=", 1) for pair in config.get("Env") or () if "=" in pair)
    entrypoint = tuple(config.get("Entrypoint") or ())
    return ImageFacts(
        shown.get("Id", ""),
        landing=(config.get("Labels") or {}).get(LANDING_LABEL, "/tree"),
        knock=knock_of(config.get("Labels")),
        user=config.get("User") or "",
        home=env.get("HOME", ""),
        shell=env.get("SHELL", ""),
        workdir=config.get("WorkingDir") or "/",
        env=tuple(config.get("Env") or ()),
        volumes=tuple(sorted({posixpath.normpath(f"/{path.strip('/')}") for path in config.get("Volumes") or ()})),
        entrypoint=entrypoint,
        program=entrypoint,
    )


def labels(spec: Spec) -> dict[str, str]:
    """Return the labels of the pool's containers. The service never touches a container that lacks one of them."""
    return {SERVICE_LABEL: spec.service, POOL_LABEL: spec.pool}


def canary_labels(spec: Spec) -> dict[str, str]:
    """Return the labels of a trial container; without the pool's label the service never treats it as a notebook."""
    return {SERVICE_LABEL: spec.service, CANARY_LABEL: spec.pool}


def container_name(spec: Spec, key: str) -> str:
    return f"tmppool-{spec.service}-{id_of(key)}"


def given_name(spec: Spec, key: str) -> str:
    """Return the name that a container gets when its notebook is assigned."""
    return f"{container_name(spec, key)}-given"


def given_of(spec: Spec, key: str, shown: dict[str, Any]) -> Given:
    """Return whether the notebook was assigned (``shown``: ContainerInspect); UNKNOWN if an older version made it.

    The mark is the name: unlike a label, it can be changed while the container runs. GIVEN_LABEL says that the version
    that made the container renames it. Any other name than the original counts, also one given by hand.
    """
    if GIVEN_LABEL not in (shown["Config"].get("Labels") or {}):
        return Given.UNKNOWN
    return Given.NO if str(shown["Name"]).removeprefix("/") == container_name(spec, key) else Given.YES


def owner_name(service: str) -> str:
    """Return the name of the container that records the ownership of a service's pools; it is never started."""
    return f"tmppool-{service}-owner"


def volume_labels(spec: Spec) -> dict[str, str]:
    """Return the labels of the volumes with homes for this pool."""
    return {**labels(spec), HOME_LABEL: "home"}


def home_config(spec: Spec, image: ImageFacts, volume: str) -> dict[str, Any]:
    """Return the ContainerCreate body for a container that is never started: it joins an image and a volume."""
    mounted = _seed_mount(spec, volume, is_read_only=False)
    return {
        "Image": image.id or spec.image,
        "Entrypoint": ["/never-started"],
        "Labels": canary_labels(spec),
        "HostConfig": {"NetworkMode": "none", "Mounts": [mounted]},
    }


def network_name(spec: Spec) -> str:
    return f"tmppool-{spec.service}-{spec.network}"


def network_config(spec: Spec) -> dict[str, Any]:
    """Return the NetworkCreate body: a bridge without traffic between containers; if isolated, without egress."""
    return {
        "Name": network_name(spec),
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Internal": spec.network == "isolated",
        "EnableIPv6": False,
        "Options": {"com.docker.network.bridge.enable_icc": "false"},
        "Labels": {SERVICE_LABEL: spec.service},
    }


def container_config(
    spec: Spec, key: str, token: str, image: ImageFacts, engine: EngineFacts | None = None, *, uid: int | None = None
) -> dict[str, Any]:
    """Return the ContainerCreate body for one notebook.

    ``uid``: its own UID, if the spec has no ``user``. Without ``engine`` the seccomp profile is tmppool's.
    """
    assert (uid is None) != (spec.user is None), "a number of its own, or one user for all"
    user = spec.user or f"{uid}:{_GROUP}"
    own = {} if uid is None else {UID_LABEL: str(uid)}
    ip = "127.0.0.1" if spec.network == "none" else "0.0.0.0"  # noqa: S104 - inside the container
    command = spec.render(key, ip=ip, port=spec.port, token=token)
    if command.startswith("-"):  # options alone are for the image's own program, as in `docker run`
        command = f"exec {shlex.join(image.program)} {command}"
    return {
        "Image": image.id or spec.image,
        "User": user,
        "Hostname": "notebook",
        # Not the home: the engine would create it below the mount, and old runtimes copy the mode of that directory.
        "WorkingDir": "/",
        "Entrypoint": ["/bin/sh", "-c", _LAUNCH, image.below, *image.entrypoint],
        "Cmd": ["/bin/sh", "-c", command],
        "Tty": False,
        "OpenStdin": False,
        "Env": [*(image.env if image.volume else ()), *_environment(token, image)],
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGKILL",
        "Labels": {**labels(spec), KEY_LABEL: key, **own},
        "HostConfig": _host_config(spec, user, image, engine or EngineFacts()),
    }


def trial_config(
    spec: Spec,
    name: str,
    image: ImageFacts,
    engine: EngineFacts,
    command: Sequence[str],
    *,
    is_strict: bool = False,
) -> dict[str, Any]:
    """Return the ContainerCreate body for a notebook's container with another command and other labels.

    ``is_strict``: its command runs only if the home is whole, like a notebook's; a probe runs in any case, and without
    an entrypoint that would take its time or alter its output. If each notebook has its own UID, it gets the last of
    the range: if any is refused, that one is.
    """
    if not (is_strict or image.is_plain):
        image = replace(image, entrypoint=())
    uid = spec.uids[-1] if spec.user is None else None
    made = container_config(spec, name, "", image, engine, uid=uid)
    if not is_strict:
        made["Entrypoint"] = [_LAUNCH_ANYWAY if word == _LAUNCH else word for word in made["Entrypoint"]]
    return {**made, "Cmd": list(command), "Labels": canary_labels(spec)}


def edition_id(spec: Spec, image: ImageFacts, engine: EngineFacts) -> str:
    """Return a digest of everything that containers of one edition share; other settings give another digest.

    Raises BackendError, as ``mount`` does.
    """
    common = container_config(spec, "", "", image, engine, uid=0 if spec.user is None else None)
    numbers = None if spec.user else [spec.uids.start, spec.uids.stop]
    text = json.dumps([common, spec.port, numbers], sort_keys=True)
    return hashlib.blake2s(text.encode(), digest_size=16).hexdigest()


def edition_of(shown: dict[str, Any]) -> str:
    """Return the edition id in a container's label (``shown``: ContainerInspect); empty if it has none."""
    return str((shown["Config"].get("Labels") or {}).get(EDITION_LABEL, ""))


def mount(entry: str) -> dict[str, Any]:
    """Return the engine's Mount for ``/host:/container[:ro|:rw]``; the default is ``:rw``.

    Unlike an entry of Binds, it does not create a missing directory on the host: the engine refuses the container.
    Raises BackendError.
    """
    source, target, mode = [*entry.split(":"), "rw"][:3] if entry.count(":") in (1, 2) else ("", "", "")
    if not (source.startswith("/") and target.startswith("/") and mode in ("ro", "rw")):
        raise BackendError(
            f"--host-directories: {entry!r} is not allowed: an entry is /host:/container, with :ro or :rw behind it"
            " or nothing",
            transient=False,
        )
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": mode == "ro"}


def _seed_mount(spec: Spec, volume: str, *, is_read_only: bool) -> dict[str, Any]:
    """Return the engine's Mount for the volume with the image's home, which nothing of the image is copied into.

    With labels always: where the volume was removed, the engine makes another one for the next container, and one
    without labels would never be swept.
    """
    options = {"NoCopy": True, "Labels": volume_labels(spec)}
    return {"Type": "volume", "Source": volume, "Target": SEED, "ReadOnly": is_read_only, "VolumeOptions": options}


def token_of(shown: dict[str, Any]) -> str:
    """Return a container's notebook token (``shown``: ContainerInspect)."""
    prefix = f"{_TOKEN}="
    env = shown["Config"].get("Env") or ()
    return next((pair.removeprefix(prefix) for pair in env if pair.startswith(prefix)), "")


def knock_of(found: dict[str, str] | None) -> str | None:
    """Return the path that tells that a server is ready, as its image's labels have it; None if they do not.

    A container has the labels of its image.
    """
    path = (found or {}).get(READY_LABEL)
    return None if path is None else path.lstrip("/")


def secret_of(shown: dict[str, Any]) -> str:
    """Return a container's secret, which is unknown inside it; empty if an older version made it."""
    return str((shown["Config"].get("Labels") or {}).get(SECRET_LABEL, ""))


def is_sound(spec: Spec, key: str, *shown: dict[str, Any], listed: Mapping[str, str] | None = None) -> bool:
    """Return True if all the engine's answers about a container of ours agree in what its notebook is served by.

    ``shown``: answers to ContainerInspect; ``listed``: its labels in one to ContainerList. None may lack anything. An
    older version gave no secret, and none of the labels that came after it.
    """
    found = [each["Config"].get("Labels") or {} for each in shown]
    served_by = {
        (each["Name"], each["State"]["Pid"], token_of(each), *(has.get(name) for name in _SERVED_BY))
        for each, has in zip(shown, found, strict=True)
    }
    is_ours = all({**labels(spec), KEY_LABEL: key}.items() <= has.items() for has in found)
    is_listed = listed is None or all(listed.get(name) == found[0].get(name) for name in _SERVED_BY)
    has_secret = bool(secret_of(shown[0])) or GIVEN_LABEL not in found[0]
    return is_ours and is_listed and has_secret and bool(token_of(shown[0])) and len(served_by) == 1


def _environment(token: str, image: ImageFacts) -> list[str]:
    led = (pair for pair in image.env if pair.startswith("SHELL="))  # into the copy of the home
    shell = next(led, f"SHELL={image.shell or '/bin/bash'}")
    return [
        f"HOME={image.home_at}",
        f"XDG_CACHE_HOME={image.home_at}/.cache",
        "USER=jovyan",
        "LOGNAME=jovyan",
        shell,
        f"{_TOKEN}={token}",
        # Numerical libraries start a thread per core of the host, which the CPU quota then throttles.
        "OMP_NUM_THREADS=1",
        "OPENBLAS_NUM_THREADS=1",
    ]


def _host_config(spec: Spec, user: str, image: ImageFacts, engine: EngineFacts) -> dict[str, Any]:
    home, owner, (writable, read_only) = image.home_at, image.owner or user, declared(spec, image)
    config = {
        **_walls(spec, engine),
        **container_limits.host_config(spec),
        "Tmpfs": {
            **{path: _tmpfs(spec, "home" if is_below(path, home) else "tmp", owner) for path in (home, *writable)},
            TMP: _tmpfs(spec, "tmp"),
        },
        "OomKillDisable": False,
        "CpuPeriod": _CPU_PERIOD,
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        "PublishAllPorts": False,
    }
    if engine.has_swappiness:
        config["MemorySwappiness"] = 0
    if not image.has_init:
        config["Init"] = True
    if spec.runtime:
        config["Runtime"] = spec.runtime
    if spec.network != "bridge":
        # Nothing listens there: a look-up fails at once, and no DNS query leaves the container.
        config["Dns"] = ["127.0.0.1"]
    config["Mounts"] = [
        _seed_mount(spec, image.volume, is_read_only=True),
        *(mount(entry) for entry in spec.binds),
        *(_declared_mount(spec, image, path) for path in read_only),
    ]
    if spec.extra_hosts:
        config["ExtraHosts"] = list(spec.extra_hosts)
    return config


def declared(spec: Spec, image: ImageFacts) -> tuple[list[str], list[str]]:
    """Return where notebooks get a tmpfs, and where a read-only volume, for what the image declares as VOLUME.

    Otherwise the engine would give each notebook a writable volume there, on disk and without a limit. Where nothing of
    the image would be hidden, it is a tmpfs like /tmp; so is one above another mount point, which the engine creates in
    it. One in the home is a tmpfs like the home, into which the image's files are unpacked. Where a mount is set
    already, nothing changes. Raises BackendError, as ``mount`` does.
    """
    home = image.home_at
    taken = [home, TMP, _SHM, SEED, *(posixpath.normpath(mount(entry)["Target"]) for entry in spec.binds)]
    free = [path for path in image.volumes if path not in taken]
    below = (*taken, *free)
    writable = [
        path
        for path in free
        if path in image.empty or is_below(path, home) or any(each != path and is_below(each, path) for each in below)
    ]
    return writable, [path for path in free if path not in writable]


def _declared_mount(spec: Spec, image: ImageFacts, path: str) -> dict[str, Any]:
    """Return the engine's Mount for a volume that all notebooks read, which the engine fills with the image's files.

    Its name begins with that of the volume of the image's home.
    """
    name = f"{image.volume}-{hashlib.blake2s(path.encode(), digest_size=4).hexdigest()}"
    options = {"Labels": volume_labels(spec)}
    return {"Type": "volume", "Source": name, "Target": path, "ReadOnly": True, "VolumeOptions": options}


def _walls(spec: Spec, engine: EngineFacts) -> dict[str, Any]:
    """Return the isolation part of HostConfig. The engine adds its AppArmor profile if the host supports AppArmor."""
    rules = [] if engine.seccomp is None else [f"seccomp={engine.seccomp}"]
    return {
        "NetworkMode": "none" if spec.network == "none" else network_name(spec),
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "Privileged": False,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true", *rules],
        "MaskedPaths": list(MASKED),
        "ReadonlyPaths": list(_READ_ONLY),
        "ReadonlyRootfs": True,
    }


def _tmpfs(spec: Spec, kind: Literal["home", "tmp"], owner: str = "") -> str:
    uid, _, gid = owner.partition(":")
    # Only the image can resolve a user name to a UID.
    access = f"uid={uid},gid={gid},mode=0700" if uid.isdigit() and gid.isdigit() else "mode=1777"
    return f"rw,exec,nosuid,nodev,{container_limits.tmpfs_options(spec, kind)},{access}"
