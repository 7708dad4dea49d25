"""The isolation that a notebook's container must have, as the expected values of the probes.

System call numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. Their
arguments are chosen so that without a filter the call does nothing or fails with another error.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tmppool.audit.inside import run
from tmppool.backends import container, container_limits
from tmppool.backends.base import Spec
from tmppool.backends.container_limits import SEED

_EPERM = ("EPERM",)
_ENOSYS = ("ENOSYS",)
_NEW_USER = 0x10000000  # CLONE_NEWUSER
_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
_SIGCHLD = 17
_NOWHERE = -1

# name, number on x86_64 and on aarch64, arguments, expected errors
_CALLS: tuple[tuple[str, int, int | None, tuple[int, ...], tuple[str, ...]], ...] = (
    ("io-uring-setup", 425, 425, (0, 0), _EPERM),
    ("io-uring-enter", 426, 426, (_NOWHERE, 0, 0, 0, 0, 0), _EPERM),
    ("io-uring-register", 427, 427, (_NOWHERE, 0, 0, 0), _EPERM),
    ("io-setup", 206, 0, (0, 0), _ENOSYS),
    ("clone3", 435, 435, (0, 0), _ENOSYS),
    ("clone-new-user", 56, 220, (_NEW_USER | _SIGCHLD, 0, 0, 0, 0), _EPERM),
    ("unshare-user", 272, 97, (_NEW_USER,), _EPERM),
    ("unshare-mounts", 272, 97, (_NEW_MOUNTS,), _EPERM),
    ("setns", 308, 268, (_NOWHERE, 0), _EPERM),
    ("mount", 165, 40, (0, 0, 0, 0, 0), _EPERM),
    ("umount", 166, 39, (0, 0), _EPERM),
    ("pivot-root", 155, 41, (0, 0), _EPERM),
    ("chroot", 161, 51, (0,), _EPERM),
    ("open-tree", 428, 428, (_NOWHERE, 0, 0), _EPERM),
    ("move-mount", 429, 429, (_NOWHERE, 0, _NOWHERE, 0, 0), _EPERM),
    ("fsopen", 430, 430, (0, 0), _EPERM),
    ("fsconfig", 431, 431, (_NOWHERE, 0, 0, 0, 0), _EPERM),
    ("fsmount", 432, 432, (_NOWHERE, 0, 0), _EPERM),
    ("fspick", 433, 433, (_NOWHERE, 0, 0), _EPERM),
    ("mount-setattr", 442, 442, (_NOWHERE, 0, 0, 0, 0), _EPERM),
    ("bpf", 321, 280, (0, 0, 0), _EPERM),
    ("perf-event-open", 298, 241, (0, 0, _NOWHERE, _NOWHERE, 0), _EPERM),
    ("userfaultfd", 323, 282, (1,), _EPERM),
    ("keyctl", 250, 219, (0, -3, 0), _EPERM),
    ("add-key", 248, 217, (0, 0, 0, 0, -3), _EPERM),
    ("request-key", 249, 218, (0, 0, 0, -3), _EPERM),
    ("ptrace", 101, 117, (0, 0, 0, 0), _EPERM),
    ("process-vm-readv", 310, 270, (1, 0, 0, 0, 0, 0), _EPERM),
    ("process-vm-writev", 311, 271, (1, 0, 0, 0, 0, 0), _EPERM),
    ("pidfd-getfd", 438, 438, (_NOWHERE, 0, 0), _EPERM),
    ("kcmp", 312, 272, (1, 1, 0, 0, 0), _EPERM),
    ("vmsplice", 278, 75, (_NOWHERE, 0, 0, 0), _EPERM),
    ("kexec-load", 246, 104, (0, 0, 0, 0xFFFF), _EPERM),
    ("kexec-file-load", 320, 294, (_NOWHERE, _NOWHERE, 0, 0, 0), _EPERM),
    ("init-module", 175, 105, (0, 0, 0), _EPERM),
    ("finit-module", 313, 273, (_NOWHERE, 0, 0), _EPERM),
    ("delete-module", 176, 106, (0, 0), _EPERM),
    ("open-by-handle-at", 304, 265, (_NOWHERE, 0, 0), _EPERM),
    ("move-pages", 279, 239, (0, 0, 0, 0, 0, 0), _EPERM),
    ("quotactl", 179, 60, (0, 0, 0, 0), _EPERM),
    ("personality", 135, 92, (0x0040000,), _EPERM),
    ("syslog", 103, 116, (10, 0, 0), _EPERM),
    ("acct", 163, 89, (1,), _EPERM),
    ("swapon", 167, 224, (0, 0), _EPERM),
    ("swapoff", 168, 225, (0,), _EPERM),
    ("reboot", 169, 142, (0, 0, 0, 0), _EPERM),
    ("sethostname", 170, 161, (0, _NOWHERE), _EPERM),
    ("settimeofday", 164, 170, (0, 0), _EPERM),
    ("clock-settime", 227, 112, (0, 0), _EPERM),
    ("fanotify-init", 300, 262, (0x200, 0), _EPERM),
    ("memfd-secret", 447, 447, (0,), (*_EPERM, *_ENOSYS)),  # too new for an old engine to know by name
    ("mq-open", 240, 180, (0, 0, 0, 0), _ENOSYS),
    ("iopl", 172, None, (4,), _EPERM),
    ("ioperm", 173, None, (0, 0, 0), _EPERM),
)

_STREAM, _DATAGRAM, _RAW, _SEQUENCE, _DCCP = 1, 2, 3, 5, 6
# name, and socket(2)'s arguments (numbers: Linux, include/linux/socket.h)
_SOCKETS: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("packet", (17, _RAW, 0)),
    ("alg", (38, _SEQUENCE, 0)),
    ("vsock", (40, _STREAM, 0)),
    ("rxrpc", (33, _DATAGRAM, 2)),
    ("xdp", (44, _RAW, 0)),
    ("key", (15, _RAW, 2)),
    ("bluetooth", (31, _RAW, 1)),
    ("tipc", (30, _DATAGRAM, 0)),
    ("can", (29, _RAW, 1)),
    ("raw", (2, _RAW, 1)),
    ("raw-by-default", (2, _RAW, 0)),
    ("raw6", (10, _RAW, 58)),
    ("sctp", (2, _STREAM, 132)),
    ("sctp-sequence", (2, _SEQUENCE, 132)),
    ("sctp-by-default", (2, _SEQUENCE, 0)),
    ("sctp6", (10, _STREAM, 132)),
    ("dccp", (2, _DCCP, 33)),
    ("dccp-by-default", (10, _DCCP, 0)),
    ("mptcp", (2, _STREAM, 262)),
    ("mptcp6", (10, _STREAM, 262)),
    ("udplite", (2, _DATAGRAM, 136)),
    ("udplite6", (10, _DATAGRAM, 136)),
    ("l2tp", (2, _DATAGRAM, 115)),
    ("igmp", (2, _DATAGRAM, 2)),
    ("icmp-of-the-other-family", (2, _DATAGRAM, 58)),
)

_READONLY = {"root": "/", "usr": "/usr", "etc": "/etc", "var": "/var"}
_MOUNTED_READONLY = {
    "root": "/",
    "proc-sys": "/proc/sys",
    "proc-bus": "/proc/bus",
    "proc-fs": "/proc/fs",
    "proc-irq": "/proc/irq",
    "sys": "/sys",
    "image-home": SEED,
}
_UNWRITABLE = {
    "pressure-cpu": "/proc/pressure/cpu",
    "pressure-io": "/proc/pressure/io",
    "pressure-irq": "/proc/pressure/irq",
    "pressure-memory": "/proc/pressure/memory",
    "pressure-cpu-cgroup": "/sys/fs/cgroup/cpu.pressure",
    "pressure-io-cgroup": "/sys/fs/cgroup/io.pressure",
    "pressure-memory-cgroup": "/sys/fs/cgroup/memory.pressure",
    "core-pattern": "/proc/sys/kernel/core_pattern",
    "drop-caches": "/proc/sys/vm/drop_caches",
    "ip-forward": "/proc/sys/net/ipv4/ip_forward",
    "sysrq": "/proc/sysrq-trigger",
    "uevent-helper": "/sys/kernel/uevent_helper",
}
_MASK_NAMES = {
    "/proc/latency_stats": "latency",
    "/proc/timer_list": "timers",
    "/proc/timer_stats": "timer-stats",
    "/proc/sched_debug": "scheduler",
}
"""Probes of masked paths that are not named after the path."""
_SECRETS = ("API_AUTH_TOKEN", "ADMIN_AUTH_TOKEN", "DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_CONFIG")

METADATA = (("169.254.169.254", 80), ("169.254.169.254", 443))
"""The metadata services of clouds, which hand out a machine's credentials."""
OUTSIDE = (("1.1.1.1", 443), ("8.8.8.8", 53), ("9.9.9.9", 443))
"""Hosts on the internet: public name servers, which are reachable everywhere."""

Target = tuple[str, int]

CANARY = "canary"
"""The probe that passes if all others could run."""


def facts(spec: Spec, home: str, targets: Mapping[str, Iterable[Target]]) -> dict[str, Any]:
    """Return the values that the probes expect.

    ``home``: where notebooks have it. ``targets``: addresses that must be unreachable, by probe.
    """
    return _facts(spec.network, home, targets, _uids(spec), container_limits.probe_facts(spec))


def _facts(
    network: str,
    home: str,
    targets: Mapping[str, Iterable[Target]],
    uids: tuple[int, int],
    limits: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "uids": list(uids),
        "secrets": _SECRETS,
        "calls": [
            (name, {"x86_64": intel} if arm is None else {"x86_64": intel, "aarch64": arm}, arguments, errors)
            for name, intel, arm, arguments, errors in _CALLS
        ],
        "sockets": _SOCKETS,
        "readonly": list(_READONLY.items()),
        "mounted_readonly": list(_MOUNTED_READONLY.items()),
        "unwritable": list(_UNWRITABLE.items()),
        "masked": [(_mask_name(path), path) for path in container.MASKED],
        "home": home,
        **limits,
        "network": network,
        "targets": [(name, list(places)) for name, places in targets.items()],
    }  # fmt: skip


def _mask_name(path: str) -> str:
    name = re.sub(r"^/(proc|sys/devices/virtual|sys)/", "", path)
    return _MASK_NAMES.get(path) or re.sub(r"[^a-z0-9]+", "-", name)


def _uids(spec: Spec) -> tuple[int, int]:
    """Return the lowest and highest UID of a notebook; all but root for a user name, whose UID only the image knows."""
    if spec.user is None:
        return spec.uids[0], spec.uids[-1]
    number = spec.user.partition(":")[0]
    return (int(number), int(number)) if number.isdigit() else (1, 2**32 - 2)


TARGETS = {
    "none": ("host", "metadata", "outside"),
    "isolated": ("host", "gateway", "neighbour", "metadata", "outside"),
    "bridge": ("host", "gateway", "neighbour", "metadata"),
}
"""The targets that a notebook must not reach, by network mode."""

_OPEN_BRIDGE = ("reach-host", "reach-gateway", "reach-metadata")


def is_choice(spec: Spec, name: str) -> bool:
    """Return True if an explicit setting permits what the probe tries: a failure is then logged, not fatal.

    A bridge reaches whatever this machine reaches. With another seccomp profile than tmppool's, only the operator
    knows which calls it is to refuse; the probe ``seccomp-filter`` requires that there is one.
    """
    by_network = spec.network == "bridge" and name in _OPEN_BRIDGE
    return by_network or (spec.seccomp != "tmppool" and name.startswith(("call-", "socket-")))


def names(*networks: str) -> frozenset[str]:
    """Return the names of all probes for these network modes; for all modes if none is given."""
    found = {CANARY}
    for network in networks or TARGETS:
        targets: dict[str, Iterable[Target]] = dict.fromkeys(TARGETS[network], ())
        wanted = _facts(network, "", targets, (0, 0), container_limits.NO_FACTS)
        found |= {name for name, _ in run.probes(wanted)}
    return frozenset(found)
