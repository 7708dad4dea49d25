"""The engine and its machine, judged: tables of facts and what is to be said of them."""

import pytest

from tmppool.audit import engine_rules
from tmppool.audit.machine import Facts
from tmppool.audit.rule import Check, Status

RULES = {rule.id: rule for rule in engine_rules.RULES}
INFO = {
    "ServerVersion": "28.2.2",
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=userns"],
    "MemoryLimit": True,
    "PidsLimit": True,
    "CpuCfsQuota": True,
    "SwapLimit": True,
    "CgroupVersion": "2",
    "LiveRestoreEnabled": True,
}
KERNEL = {
    "pid_max": "4194304",
    "pty_max": "65536",
    "inotify_instances": "128",
    "protected_symlinks": "1",
    "core_pattern": "core",
}
SOCKET = "unix:///var/run/docker.sock"


def facts(**more: object) -> Facts:
    version = {"Components": [{"Name": "runc", "Version": more.pop("runc", "1.3.3")}]}
    info = {**INFO, **more.pop("info", {})}
    kernel = {**KERNEL, **more.pop("kernel", {})}
    given = {"engine_at": SOCKET, "socket_mode": 0o660, "clock_skew": 0.0, **more}
    return Facts(info=info, version=version, kernel=kernel, **given)


def judge(name: str, seen: Facts) -> Check:
    return RULES[name].check(seen)


def test_on_a_sound_machine_everything_passes() -> None:
    assert [rule.id for rule in engine_rules.RULES if rule.check(facts()).status is not Status.PASS] == []


def test_of_what_is_not_known_nothing_passes() -> None:
    assert {rule.check(Facts()).status for rule in engine_rules.RULES} == {Status.UNKNOWN}


FAILING = [
    ("engine-version", {"info": {"ServerVersion": "20.10.24+dfsg1"}}, "20.10.24"),
    ("engine-version", {"info": {"ServerVersion": "26.1.4"}}, "26.1.4"),
    ("runc-version", {"runc": "1.1.5+ds1"}, "a distribution may have repaired it"),
    ("runc-version", {"runc": "1.2.7"}, "1.2.7"),
    ("runc-version", {"runc": "1.3.2"}, "1.3.2"),
    ("seccomp", {"info": {"SecurityOptions": ["name=apparmor"]}}, "cannot filter"),
    ("security-module", {"info": {"SecurityOptions": ["name=seccomp"]}}, "neither AppArmor nor SELinux"),
    ("user-namespaces", {"info": {"SecurityOptions": ["name=seccomp"]}}, "the host's own"),
    ("controllers", {"info": {"PidsLimit": False}}, "processes cannot be limited"),
    ("control-groups", {"info": {"CgroupVersion": "1"}}, "version 1"),
    ("swap-accounting", {"info": {"SwapLimit": False}}, "not counted"),
    ("live-restore", {"info": {"LiveRestoreEnabled": False}}, "a restart"),
    ("engine-exposure", {"engine_at": "tcp://10.0.0.1:2375"}, "without TLS"),
    ("engine-socket", {"socket_mode": 0o666}, "0666"),
    ("clock", {"clock_skew": 61.0}, "61 s"),
    ("pty-max", {"kernel": {"pty_max": "4096"}}, "kernel.pty.max is 4096"),
    ("inotify", {"kernel": {"inotify_instances": "64"}}, "64"),
    ("protected-symlinks", {"kernel": {"protected_symlinks": "0"}}, "0"),
    ("core-pattern", {"kernel": {"core_pattern": "|/usr/share/apport %p"}}, "apport"),
]


@pytest.mark.parametrize(("name", "wrong", "seen"), FAILING, ids=[f"{name} {wrong}" for name, wrong, _ in FAILING])
def test_what_is_wrong_fails_alone_and_says_what_was_seen(name: str, wrong: dict[str, object], seen: str) -> None:
    found = facts(**wrong)
    failed = {rule.id for rule in engine_rules.RULES if rule.check(found).status is Status.FAIL}
    assert name in failed
    assert failed <= {name, "user-namespaces", "security-module", "seccomp"}
    assert seen in judge(name, found).seen
    assert judge(name, found).remedy.endswith(".")


def test_every_rule_has_a_case_in_which_it_fails() -> None:
    assert {name for name, _, _ in FAILING} == set(RULES)


@pytest.mark.parametrize(
    ("version", "passes"),
    [
        ("1.2.8", True),
        ("1.2.10", True),
        ("1.3.3", True),
        ("1.4.0", True),
        ("2.0.1", True),
        ("1.2.0", False),
        ("1.1.15", False),
    ],
)
def test_a_repaired_version_of_each_line_passes(version: str, *, passes: bool) -> None:
    assert (judge("runc-version", facts(runc=version)).status is Status.PASS) is passes


@pytest.mark.parametrize(
    ("where", "has_tls", "status"),
    [
        (SOCKET, False, Status.PASS),
        ("tcp://127.0.0.1:2375", False, Status.PASS),
        ("tcp://10.0.0.1:2376", True, Status.PASS),
        ("ssh://host", False, Status.PASS),
        ("https://10.0.0.1:2376", False, Status.PASS),
        ("http://10.0.0.1:2375", False, Status.FAIL),
        ("", False, Status.UNKNOWN),
    ],
)
def test_an_engine_that_is_reached_in_the_clear_is_exposed(where: str, *, has_tls: bool, status: Status) -> None:
    assert judge("engine-exposure", facts(engine_at=where, has_tls=has_tls)).status is status
