"""Rules on the engine and its machine. Each rule uses only the gathered facts."""

import re
from urllib.parse import urlsplit

from tmppool.audit.machine import KERNEL, Facts
from tmppool.audit.rule import Opinion, Rule, Severity, fails, holds, passes, unknown

_ENGINE_FLOORS = ((27, 1, 1), (26, 1, 5), (25, 0, 6))
"""CVE-2024-41110 (bypass of authorization plugins) is fixed in these versions and later ones of each branch."""
_RUNC_FLOORS = ((1, 4, 0), (1, 3, 3), (1, 2, 8))
"""CVE-2025-31133, -52565 and -52881 (masked paths bypassed) are fixed in these versions and later of each branch."""
_CONTROLLERS = {"MemoryLimit": "memory", "PidsLimit": "processes", "CpuCfsQuota": "CPU"}
_CLOCK = 5.0  # seconds of clock skew that do no harm
_PTYS = 65_536  # one notebook may open thousands, and the limit is machine-wide (pty(7))
_INOTIFY = 128  # the kernel's default per user; each notebook has its own UID


def _version(text: str) -> tuple[int, int, int] | None:
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _is_at_least(version: tuple[int, int, int], floors: tuple[tuple[int, int, int], ...]) -> bool:
    """Return True if a version is at or above the floor of its branch, or above all branches."""
    return version >= floors[0] or any(version[:2] == floor[:2] and version >= floor for floor in floors)


def _judge_version(name: str, text: str, floors: tuple[tuple[int, int, int], ...]) -> Opinion:
    version = _version(text)
    if version is None:
        return unknown(f"{name} does not report its version")
    wanted = " or ".join(".".join(map(str, floor)) for floor in floors)
    if _is_at_least(version, floors):
        return passes(f"{name} {text}")
    note = "; a distribution may have repaired it without a new number" if re.search(r"[+~-]", text) else ""
    return fails(f"{name} {text} is older than {wanted}{note}")


def _engine_version(facts: Facts) -> Opinion:
    return _judge_version("the engine", str(facts.info.get("ServerVersion", "")), _ENGINE_FLOORS)


def _runc_version(facts: Facts) -> Opinion:
    parts = facts.version.get("Components") or ()
    text = next((str(part.get("Version", "")) for part in parts if part.get("Name") == "runc"), "")
    return _judge_version("runc", text, _RUNC_FLOORS)


def _options(facts: Facts) -> list[str]:
    return [str(option).partition(",")[0].removeprefix("name=") for option in facts.info.get("SecurityOptions") or ()]


def _seccomp(facts: Facts) -> Opinion:
    if "SecurityOptions" not in facts.info:
        return unknown("not reported by the engine")
    return holds("seccomp" in _options(facts), "system calls are filtered", "the engine cannot filter system calls")


def _has_any(names: tuple[str, ...], otherwise: str, facts: Facts) -> Opinion:
    if "SecurityOptions" not in facts.info:
        return unknown("not reported by the engine")
    found = [name for name in names if name in _options(facts)]
    return holds(bool(found), " and ".join(found), otherwise)


def _lsm(facts: Facts) -> Opinion:
    return _has_any(("apparmor", "selinux"), "neither AppArmor nor SELinux is active", facts)


def _user_namespaces(facts: Facts) -> Opinion:
    return _has_any(("userns", "rootless"), "UIDs in containers are the host's own UIDs", facts)


def _controllers(facts: Facts) -> Opinion:
    if not any(name in facts.info for name in _CONTROLLERS):
        return unknown("not reported by the engine")
    missing = [what for name, what in _CONTROLLERS.items() if not facts.info.get(name)]
    return holds(not missing, "memory, processes and CPU can be limited", f"{' and '.join(missing)} cannot be limited")


def _cgroups(facts: Facts) -> Opinion:
    version = str(facts.info.get("CgroupVersion", ""))
    return holds(version == "2", f"version {version}") if version else unknown("not reported by the engine")


def _swap(facts: Facts) -> Opinion:
    if "SwapLimit" not in facts.info:
        return unknown("not reported by the engine")
    return holds(bool(facts.info["SwapLimit"]), "swap is counted", "swap is not counted, so memory limits leak into it")


def _live_restore(facts: Facts) -> Opinion:
    if "LiveRestoreEnabled" not in facts.info:
        return unknown("not reported by the engine")
    return holds(bool(facts.info["LiveRestoreEnabled"]), "on", "off: a restart of the engine ends every notebook")


def _exposure(facts: Facts) -> Opinion:
    parts = urlsplit(facts.engine_at)
    if parts.scheme == "unix":
        return passes(facts.engine_at)
    if not parts.scheme:
        return unknown("the engine's address is not known")
    is_safe = (
        parts.scheme in ("https", "npipe", "ssh")
        or facts.has_tls
        or parts.hostname in ("127.0.0.1", "::1", "localhost")
    )
    return holds(is_safe, f"{parts.scheme} to {parts.hostname}", f"{parts.scheme} to {parts.hostname} without TLS")


def _socket_mode(facts: Facts) -> Opinion:
    if facts.socket_mode is None:
        return unknown("the engine's socket is no file of this machine")
    return holds(not facts.socket_mode & 0o002, f"mode {facts.socket_mode:04o}")


def _clock(facts: Facts) -> Opinion:
    if facts.clock_skew is None:
        return unknown("the engine does not report its time")
    return holds(facts.clock_skew <= _CLOCK, f"the engine's clock differs by {facts.clock_skew:.0f} s")


# The kernel


def _at_least(name: str, least: int, facts: Facts) -> Opinion:
    value, label = facts.kernel.get(name, ""), KERNEL[name].replace("/", ".")
    return holds(int(value) >= least, f"{label} is {value}") if value.isdigit() else unknown("cannot be read here")


def _core_pattern(facts: Facts) -> Opinion:
    value = facts.kernel.get("core_pattern")
    if value is None:
        return unknown("cannot be read here")
    return holds(not value.startswith("|"), f"{value or 'none'}", f"a program of the host is run for each: {value}")


_LOW, _MEDIUM, _HIGH, _CRITICAL = Severity

RULES: tuple[Rule[Facts], ...] = (
    Rule("engine-version", "engine", _MEDIUM, "Update the engine, or the distribution's package of it.",
         _engine_version),
    Rule("runc-version", "engine", _MEDIUM, "Update runc to 1.2.8, 1.3.3 or newer.", _runc_version),
    Rule("seccomp", "engine", _CRITICAL, "Use an engine and a kernel that were built with seccomp.", _seccomp),
    Rule("security-module", "engine", _MEDIUM, "Activate AppArmor or SELinux on the engine's host.", _lsm),
    Rule("user-namespaces", "engine", _LOW, "Set userns-remap in the engine's daemon.json, or run it rootless.",
         _user_namespaces),
    Rule("controllers", "engine", _HIGH, "Enable these control groups in the host's kernel.", _controllers),
    Rule("control-groups", "engine", _LOW, "Boot the host with control groups of version 2.", _cgroups),
    Rule("swap-accounting", "engine", _MEDIUM, "Boot the host with swapaccount=1, or without swap.", _swap),
    Rule("live-restore", "engine", _LOW, "Set live-restore in the engine's daemon.json.", _live_restore),
    Rule("engine-exposure", "engine", _CRITICAL, "Reach the engine by its socket, by ssh or with TLS.", _exposure),
    Rule("engine-socket", "engine", _CRITICAL, "Take the write permission of others off the engine's socket.",
         _socket_mode),
    Rule("clock", "engine", _MEDIUM, "Let NTP set the clocks of both machines.", _clock),
    Rule("pty-max", "kernel", _LOW, f"Set kernel.pty.max to {_PTYS} or more.",
         lambda facts: _at_least("pty_max", _PTYS, facts)),
    Rule("inotify", "kernel", _LOW, f"Set fs.inotify.max_user_instances to {_INOTIFY} or more.",
         lambda facts: _at_least("inotify_instances", _INOTIFY, facts)),
    Rule("protected-symlinks", "kernel", _LOW, "Set fs.protected_symlinks to 1.",
         lambda facts: _at_least("protected_symlinks", 1, facts)),
    Rule("core-pattern", "kernel", _MEDIUM, "Set kernel.core_pattern to a file's name.", _core_pattern),
)  # fmt: skip
