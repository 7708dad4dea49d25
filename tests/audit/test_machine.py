"""What is gathered of the engine and its machine."""

import os
from pathlib import Path

import psutil
import pytest

from tmppool.audit import machine
from tmppool.audit.machine import Facts
from tmppool.backends import engine
from tmppool.pool_settings import DEFAULT_IMAGE


def test_only_an_engine_on_the_same_kernel_and_memory_is_here() -> None:
    here = {"KernelVersion": os.uname().release, "MemTotal": psutil.virtual_memory().total}
    assert machine._is_here(here)
    assert not machine._is_here({**here, "KernelVersion": "1.0"})
    assert not machine._is_here({**here, "MemTotal": 1})
    assert not machine._is_here({})


def test_the_fewer_of_process_numbers_and_threads_count() -> None:
    assert Facts(kernel={"pid_max": "32768", "threads_max": "1000"}).sums.processes == 1000
    assert Facts(kernel={"pid_max": "32768"}).sums.processes == 32_768
    assert (Facts().sums.processes, Facts().sums.memory) == (None, None)


def test_the_kernels_values_are_read_and_what_is_missing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(machine.KERNEL, "nothing", "kernel/nothing-of-that-name")
    found = machine._kernel()
    assert int(found["pid_max"]) > 300
    assert "nothing" not in found


def test_a_sockets_mode_is_read_and_anything_else_has_none(tmp_path: Path) -> None:
    (tmp_path / "s").touch(mode=0o600)
    assert machine._mode(f"unix://{tmp_path}/s") == 0o600
    assert machine._mode(f"unix://{tmp_path}/missing") is None
    assert machine._mode("tcp://127.0.0.1:2375") is None


@pytest.mark.parametrize(
    ("told", "skew"),
    [("2026-01-01T00:00:10.9Z", 0.0), ("2026-01-01T00:00:00Z", 9.5), ("2026-01-01T00:01:11Z", 60.0), ("odd", None)],
)
def test_a_clock_that_differs_beyond_the_time_of_asking_is_told(told: str, skew: float | None) -> None:
    start = 1_767_225_600.0  # 2026-01-01T00:00:00Z
    assert machine._skew({"SystemTime": told}, start + 10.5, start + 11) == skew


@pytest.mark.engine
async def test_a_real_engine_tells_all_of_it() -> None:
    docker = await engine.connect()
    try:
        found = await machine.look(docker, [DEFAULT_IMAGE])
    finally:
        await docker.close()
    assert found.info["MemTotal"] > 0
    assert found.version["Components"]
    assert found.images[DEFAULT_IMAGE]["Id"].startswith("sha256:")
    assert found.engine_at
    assert found.clock_skew is not None
