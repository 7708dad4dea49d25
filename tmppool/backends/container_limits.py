"""One table of a container's limits: the setting, the engine's field, the probe, and the engine's refusal.

``container`` builds the ContainerCreate body from this table, ``audit`` the values that its probes expect, and
``preflight`` the name of the setting that caused a refusal. A new limit needs a row here, a setting, and a probe in
``audit/inside``; the probe of an rlimit is generated from its row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tmppool.backends.base import Spec

SEED = "/var/lib/tmppool"
"""Mount point of the volume with the copy of the image's home, read-only."""

SEED_FILE = f"{SEED}/home.tar"
"""The archive that each notebook unpacks into its home."""

TMP = "/tmp"  # noqa: S108 - the container's own


@dataclass(frozen=True, slots=True)
class Rlimit:
    """A resource limit (getrlimit(2)): the engine's name in Ulimits, the kernel's number (asm-generic/resource.h)."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """An option of a tmpfs mount (tmpfs(5)): that of the home, or that of /tmp."""

    mount: Literal["home", "tmp"]
    option: str


@dataclass(frozen=True, slots=True)
class ContainerLimit:
    """One limit: the source of its value, and its place in the container's configuration.

    ``field``: the field of ``Spec``; None if the value is ``fixed``. ``option``: the setting. ``keys``: the HostConfig
    keys, unless it is an rlimit or a mount option. ``probes``: the probes that check it in the container; without any,
    ``unproven`` says why. ``refusals``: lower-case phrases that identify an engine's refusal of this limit.
    """

    field: str | None
    option: str = ""
    keys: tuple[str, ...] = ()
    rlimit: Rlimit | None = None
    tmpfs: Tmpfs | None = None
    fixed: int = 0
    probes: tuple[str, ...] = ()
    unproven: str = ""
    refusals: tuple[str, ...] = ()

    def value(self, spec: Spec) -> int | None:
        """Return the limit in bytes, or in its own unit; None if the settings do not set it."""
        return self.fixed if self.field is None else getattr(spec, self.field)

    @property
    def proofs(self) -> tuple[str, ...]:
        """The names of its probes, for an rlimit including the generated one."""
        return (*self.probes, f"limit-{self.rlimit.name}") if self.rlimit else self.probes


_RLIMIT = ("rlimit",)
_TMPFS = ("tmpfs",)
_CPU = ("cpu",)

LIMITS = (
    ContainerLimit("nofile", "--nofile-limit", rlimit=Rlimit("nofile", 7), refusals=_RLIMIT),
    ContainerLimit(None, rlimit=Rlimit("core", 4)),
    ContainerLimit("memlock", "--memlock-limit", rlimit=Rlimit("memlock", 8), refusals=_RLIMIT),
    ContainerLimit("sigpending", "--sigpending-limit", rlimit=Rlimit("sigpending", 11), refusals=_RLIMIT),
    ContainerLimit(None, rlimit=Rlimit("msgqueue", 12)),
    ContainerLimit(
        "memory",
        "--mem-limit",
        ("Memory", "MemorySwap"),  # MemorySwap is memory plus swap: equal to Memory, it allows no swap
        probes=("memory-limit", "swap-limit"),
        refusals=("memory limit",),
    ),
    ContainerLimit("cpu_quota", "--cpu-quota", ("CpuQuota",), probes=("cpu-limit",), refusals=_CPU),
    ContainerLimit(
        "cpu_shares", "--cpu-shares", ("CpuShares",), unproven="a weight: it takes from nobody", refusals=_CPU
    ),
    ContainerLimit("home_size", "--home-size", tmpfs=Tmpfs("home", "size"), probes=("home-size",), refusals=_TMPFS),
    ContainerLimit(
        "home_inodes", "--home-inodes", tmpfs=Tmpfs("home", "nr_inodes"), probes=("home-inodes",), refusals=_TMPFS
    ),
    ContainerLimit("tmp_size", "--tmp-size", tmpfs=Tmpfs("tmp", "size"), probes=("tmp-size",), refusals=_TMPFS),
    ContainerLimit(
        "tmp_inodes", "--tmp-inodes", tmpfs=Tmpfs("tmp", "nr_inodes"), probes=("tmp-inodes",), refusals=_TMPFS
    ),
    ContainerLimit("shm_size", "--shm-size", ("ShmSize",), probes=("shm-size",), refusals=("shm",)),
    # Not RLIMIT_NPROC, which counts all processes of a UID; PidsLimit counts those of the container.
    ContainerLimit("pids", "--pids-limit", ("PidsLimit",), probes=("pids-limit",), refusals=("pids",)),
    ContainerLimit(
        "oom_score", "--oom-score", ("OomScoreAdj",), probes=("oom-score",), refusals=("oom_score", "oom score")
    ),
    ContainerLimit("log_size", "--log-size", ("LogConfig",), unproven="the engine's own file, not seen from inside"),
)

PROBES = frozenset(name for limit in LIMITS for name in limit.proofs)
"""All probes that check a limit."""


def host_config(spec: Spec) -> dict[str, Any]:
    """Return the limits in HostConfig, except mount options, which ``tmpfs_options`` returns."""
    found: dict[str, Any] = {}
    for limit in LIMITS:
        value = limit.value(spec)
        if value is not None:
            found |= dict.fromkeys(limit.keys, value)
    found["LogConfig"] = {"Type": "json-file", "Config": {"max-size": str(spec.log_size), "max-file": "1"}}
    found["Ulimits"] = [
        {"Name": limit.rlimit.name, "Soft": limit.value(spec), "Hard": limit.value(spec)}
        for limit in LIMITS
        if limit.rlimit is not None
    ]
    return found


def tmpfs_options(spec: Spec, mount: Literal["home", "tmp"]) -> str:
    """Return the options that limit a tmpfs mount."""
    mine = [(limit.tmpfs.option, limit) for limit in LIMITS if limit.tmpfs and limit.tmpfs.mount == mount]
    options = [(option, limit.value(spec)) for option, limit in mine]
    return ",".join(f"{option}={value}" for option, value in options)


def probe_facts(spec: Spec) -> dict[str, Any]:
    """Return the values that the probes expect, by field of ``Spec``, and each rlimit as name, number and value."""
    return _facts(lambda limit: limit.value(spec))


def _facts(value_of: Callable[[ContainerLimit], int | None]) -> dict[str, Any]:
    values = {limit.field: value_of(limit) for limit in LIMITS if limit.field is not None}
    rlimits = [(limit.rlimit.name, limit.rlimit.number, value_of(limit)) for limit in LIMITS if limit.rlimit]
    return {**values, "rlimits": rlimits}


NO_FACTS = _facts(lambda _limit: None)
"""The probes' facts without values: enough to name the probes, not to run them."""


def refusals() -> tuple[tuple[str, str], ...]:
    """Return pairs of a phrase in an engine's refusal and the settings that caused it, as part of a sentence."""
    options: dict[str, list[str]] = {}
    for limit in LIMITS:
        for words in limit.refusals:
            options.setdefault(words, []).append(limit.option)
    return tuple((words, _either(names)) for words, names in options.items())


def _either(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
