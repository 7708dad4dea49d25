"""The container section of the CIS Docker Benchmark 1.6 (5.1 to 5.32), checked on the engine's ContainerInspect data.

A waived rule states why tmppool, or this host, does not follow it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tmppool.audit.rule import Opinion, Rule, Severity, Status, fails, holds, passes, unknown

_HOST_FOLDERS = (
    "/",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/sys",
    "/usr",
    "/root",
    "/run",
    "/var",
    "/home",
)
_FEW = 3  # containers named in a message


@dataclass(frozen=True, slots=True)
class Containers:
    """``shown``: ContainerInspect's answers by a name for messages; ``current``: the ids of the configured images."""

    shown: dict[str, dict[str, Any]] = field(default_factory=dict)
    current: frozenset[str] = frozenset()
    info: dict[str, Any] = field(default_factory=dict)


Shown = dict[str, Any]


def _each(is_right: Callable[[Shown], bool], fine: str, wrong: str) -> Callable[[Containers], Opinion]:
    """Return a judge that passes if ``is_right`` is true for every container."""

    def opinion(facts: Containers) -> Opinion:
        if not facts.shown:
            return unknown("no container could be inspected")
        found = [name for name, shown in facts.shown.items() if not is_right(shown)]
        if not found:
            return passes(f"{fine} ({len(facts.shown)} inspected)")
        return fails(f"{wrong}: {', '.join(found[:_FEW])}{' and more' if len(found) > _FEW else ''}")

    return opinion


def _host(shown: Shown) -> dict[str, Any]:
    return dict(shown.get("HostConfig") or {})


def _config(shown: Shown) -> dict[str, Any]:
    return dict(shown.get("Config") or {})


def _mounts(shown: Shown) -> list[dict[str, Any]]:
    return list(shown.get("Mounts") or ())


def _ports(shown: Shown) -> bool:
    bound = (shown.get("NetworkSettings") or {}).get("Ports") or {}
    return not _host(shown).get("PortBindings") and not any(bound.values()) and not _host(shown).get("PublishAllPorts")


def _options(shown: Shown) -> list[str]:
    return [str(option) for option in _host(shown).get("SecurityOpt") or ()]


def _has_no_new_privileges(shown: Shown) -> bool:
    return any(option in ("no-new-privileges", "no-new-privileges:true") for option in _options(shown))


def _runs_no_sshd(shown: Shown) -> bool:
    words = [*(_config(shown).get("Entrypoint") or ()), *(_config(shown).get("Cmd") or ())]
    return not any("sshd" in str(word) for word in words)


def _drops_all(shown: Shown) -> bool:
    return "ALL" in (_host(shown).get("CapDrop") or ()) and not _host(shown).get("CapAdd")


def _has_ulimits(shown: Shown) -> bool:
    names = {limit.get("Name") for limit in _host(shown).get("Ulimits") or ()}
    return {"nofile", "core"} <= names


def _mounts_no_socket(shown: Shown) -> bool:
    return not any("docker.sock" in f"{mount.get('Source')} {mount.get('Destination')}" for mount in _mounts(shown))


def _swarm(facts: Containers) -> Opinion:
    state = (facts.info.get("Swarm") or {}).get("LocalNodeState")
    return (
        unknown("not reported by the engine") if state is None else holds(state == "inactive", f"swarm mode is {state}")
    )


def _module(name: str, field_name: str) -> Callable[[Containers], Opinion]:
    """Return a judge that requires a profile of AppArmor or SELinux if the host has that module."""

    def opinion(facts: Containers) -> Opinion:
        options = [str(option).partition(",")[0] for option in facts.info.get("SecurityOptions") or ()]
        if "SecurityOptions" not in facts.info:
            return unknown("not reported by the engine")
        if f"name={name}" not in options:
            return Status.WAIVED, f"the host has no {name}; see security-module"
        is_right = lambda shown: shown.get(field_name) not in (None, "", "unconfined")  # noqa: E731
        return _each(is_right, f"each has a profile of {name}", f"without a profile of {name}")(facts)

    return opinion


def _health(facts: Containers) -> Opinion:
    has_none = _each(
        lambda shown: (_config(shown).get("Healthcheck") or {}).get("Test") == ["NONE"],
        "none", "a health check is set, which the engine runs inside the visitor's container",
    )(facts)  # fmt: skip
    if has_none[0] is not Status.PASS:
        return has_none
    return Status.WAIVED, "a health check is a command that the engine runs inside; the service asks over HTTP instead"


def _image(facts: Containers) -> Opinion:
    if not facts.current:
        return unknown("no image was inspected")
    return _each(
        lambda shown: shown.get("Image") in facts.current, "of the image that is wanted now", "of an older image"
    )(facts)


def _rule(
    number: int, name: str, severity: Severity, remedy: str, judge: Callable[[Containers], Opinion]
) -> Rule[Containers]:
    return Rule(f"cis-5.{number}-{name}", "cis", severity, remedy, judge)


_LOW, _MEDIUM, _HIGH, _CRITICAL = Severity
_OURS = "Nothing in tmppool's settings does this: see who changed the containers."

RULES: tuple[Rule[Containers], ...] = (
    _rule(1, "swarm", _LOW, "Leave the swarm: docker swarm leave.", _swarm),
    _rule(2, "apparmor", _MEDIUM, "Activate AppArmor on the host.", _module("apparmor", "AppArmorProfile")),
    _rule(3, "selinux", _LOW, "Activate SELinux on the host.", _module("selinux", "ProcessLabel")),
    _rule(4, "capabilities", _CRITICAL, _OURS, _each(_drops_all, "all are dropped", "with capabilities")),
    _rule(5, "privileged", _CRITICAL, _OURS,
          _each(lambda shown: not _host(shown).get("Privileged"), "none is privileged", "privileged")),
    _rule(6, "host-folders", _HIGH, "Take it out of --host-directories.",
          _each(lambda shown: not any(mount.get("Source") in _HOST_FOLDERS for mount in _mounts(shown)),
                "no folder of the host's own", "a folder of the host's own is mounted")),
    _rule(7, "sshd", _MEDIUM, "Take it out of --command.", _each(_runs_no_sshd, "no sshd", "sshd")),
    _rule(8, "privileged-ports", _MEDIUM, _OURS, _each(_ports, "no port of the host", "ports of the host")),
    _rule(9, "needed-ports", _MEDIUM, _OURS, _each(_ports, "no port of the host", "ports of the host")),
    _rule(10, "host-network", _CRITICAL, _OURS,
          _each(lambda shown: _host(shown).get("NetworkMode") != "host", "not the host's", "the host's network")),
    _rule(11, "memory", _HIGH, "Set --mem-limit.",
          _each(lambda shown: bool(_host(shown).get("Memory")), "limited", "without a limit of memory")),
    _rule(12, "cpu-shares", _LOW, "Set --cpu-shares.",
          _each(lambda shown: _host(shown).get("CpuShares") not in (0, 1024, None), "set", "of the usual weight")),
    _rule(13, "read-only-root", _HIGH, _OURS,
          _each(lambda shown: bool(_host(shown).get("ReadonlyRootfs")), "read-only", "a writable root")),
    _rule(14, "bound-ports", _MEDIUM, _OURS, _each(_ports, "no port of the host", "ports of the host")),
    _rule(15, "restart-policy", _LOW, _OURS,
          _each(lambda shown: (_host(shown).get("RestartPolicy") or {}).get("Name") in ("no", ""),
                "never restarted", "restarted by the engine")),
    _rule(16, "host-processes", _CRITICAL, _OURS,
          _each(lambda shown: _host(shown).get("PidMode") != "host", "not the host's", "the host's processes")),
    _rule(17, "host-ipc", _HIGH, _OURS,
          _each(lambda shown: _host(shown).get("IpcMode") in ("private", "none"), "private", "shared memory")),
    _rule(18, "devices", _HIGH, _OURS,
          _each(lambda shown: not _host(shown).get("Devices"), "no device", "a device of the host")),
    _rule(19, "ulimits", _LOW, _OURS, _each(_has_ulimits, "set", "the engine's own limits")),
    _rule(20, "mount-propagation", _MEDIUM, "Take it out of --host-directories.",
          _each(lambda shown: not any(mount.get("Propagation") in ("shared", "rshared") for mount in _mounts(shown)),
                "not shared", "shared with the host")),
    _rule(21, "host-uts", _MEDIUM, _OURS,
          _each(lambda shown: _host(shown).get("UTSMode") != "host", "not the host's", "the host's names")),
    _rule(22, "seccomp", _CRITICAL, "Leave out --seccomp.",
          _each(lambda shown: not any("unconfined" in option[:20] for option in _options(shown)),
                "filtered", "system calls are not filtered")),
    _rule(23, "privileged-exec", _HIGH, "Run no docker exec in visitors' containers.",
          _each(lambda shown: not shown.get("ExecIDs"), "nothing was run from outside", "commands run from outside")),
    _rule(24, "root-exec", _HIGH, "Run no docker exec in visitors' containers.",
          _each(lambda shown: not shown.get("ExecIDs"), "nothing was run from outside", "commands run from outside")),
    _rule(25, "control-group", _MEDIUM, _OURS,
          _each(lambda shown: not _host(shown).get("CgroupParent"), "the engine's", "another control group")),
    _rule(26, "new-privileges", _CRITICAL, _OURS, _each(_has_no_new_privileges, "none", "new privileges")),
    _rule(27, "health-check", _LOW, "Leave health checks to the service.", _health),
    _rule(28, "image", _LOW, "Drain the pool: DELETE /api/pool on the admin listener.", _image),
    _rule(29, "processes", _HIGH, "Set --pids-limit.",
          _each(lambda shown: (_host(shown).get("PidsLimit") or 0) > 0, "limited", "without a limit of processes")),
    _rule(30, "default-bridge", _MEDIUM, _OURS,
          _each(lambda shown: _host(shown).get("NetworkMode") not in ("default", "bridge"), "not used", "docker0")),
    _rule(31, "host-users", _MEDIUM, _OURS,
          _each(lambda shown: _host(shown).get("UsernsMode") != "host", "not the host's", "the host's namespace")),
    _rule(32, "engine-socket", _CRITICAL, "Take it out of --host-directories.",
          _each(_mounts_no_socket, "not mounted", "the engine's socket")),
)  # fmt: skip
