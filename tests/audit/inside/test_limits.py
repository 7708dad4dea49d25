"""Limits: as the control groups, of either version, and the kernel tell them."""

import resource
from pathlib import Path

import pytest

from tmppool.audit.inside import limits

MEMORY = 1 << 30


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(limits, "_CGROUP", str(tmp_path))
    (tmp_path / "memory").mkdir()
    return tmp_path


def test_a_limit_is_read_from_the_older_and_the_newer_control_groups(control: Path) -> None:
    (control / "pids.max").write_text("256\n")
    assert limits._limit(256, "pids/pids.max", "pids.max") == (True, "256")
    (control / "pids").mkdir()
    (control / "pids" / "pids.max").write_text("max\n")
    assert limits._limit(256, "pids/pids.max", "pids.max") == (False, "max, not 256")


def test_a_limit_that_cannot_be_read_does_not_hold(control: Path) -> None:
    assert limits._limit(256, "pids.max") == (False, "no such control group")


def swap(kilobytes: int, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, str]:
    plain = limits.read
    answer = f"MemTotal: 9 kB\nSwapTotal: {kilobytes} kB"
    monkeypatch.setattr(limits, "read", lambda path: answer if path == "/proc/meminfo" else plain(path))
    return limits._swap(MEMORY)


def test_without_swap_none_can_be_used(control: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert swap(0, monkeypatch) == (True, "the host has no swap")


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [
        ("memory/memory.memsw.limit_in_bytes", str(MEMORY), True),
        ("memory/memory.memsw.limit_in_bytes", str(2 * MEMORY), False),
        ("memory.swap.max", "0", True),
        ("memory.swap.max", "max", False),
        ("memory.other", "", False),
    ],
)
def test_swap_must_be_counted_and_none_be_left(
    name: str, value: str, *, held: bool, control: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (control / name).write_text(value)
    assert swap(100, monkeypatch)[0] is held


def test_the_cpu_quota_of_either_version(control: Path) -> None:
    (control / "cpu").mkdir()
    (control / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    assert limits._cpu(50_000)[0]
    assert not limits._cpu(60_000)[0]
    (control / "cpu.max").write_text("70000 100000\n")
    assert limits._cpu(70_000)[0]
    assert limits._cpu(None)[0]


def test_both_the_soft_and_the_hard_limit_count() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    assert limits._rlimit(resource.RLIMIT_CORE, 12_345)[0] is False
    assert limits._rlimit(resource.RLIMIT_CORE, soft)[0] is (soft == hard)


def test_other_users_processes_are_seen_here_outside() -> None:
    held, seen = limits._processes()
    assert not held
    assert "processes" in seen


def test_the_hosts_name_is_not_a_notebooks() -> None:
    assert not limits._hostname("no-machine-is-called-so")[0]
