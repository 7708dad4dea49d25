"""Limits that sum past the machine, as tables."""

import pytest

from tests.specs import spec_of
from tmppool.audit import machine_sums
from tmppool.audit.machine_sums import Machine, Planned

GIB = 1 << 30
USUAL = Machine(processes=32_768, memory=24 * GIB)


def pool(capacity: int = 10, name: str = "main", **limits: int) -> Planned:
    return Planned(name, capacity, spec_of("service", name, **limits))


@pytest.mark.parametrize(
    ("pools", "fits"),
    [
        pytest.param([pool()], True, id="defaults"),
        pytest.param([pool(30)], True, id="thirty"),
        pytest.param([pool(102)], True, id="the most that fit"),
        pytest.param([pool(103)], False, id="one more"),
        pytest.param([pool(300)], False, id="three hundred"),
        pytest.param([pool(300, pids=64)], True, id="three hundred small ones"),
        pytest.param([pool(60), pool(60, "other")], False, id="two pools together"),
    ],
)
def test_all_processes_of_all_notebooks_must_have_numbers(pools: list[Planned], *, fits: bool) -> None:
    assert (machine_sums.pids(pools, USUAL) == "") is fits


def test_the_sentence_tells_the_sum_the_options_and_what_the_machine_has() -> None:
    said = machine_sums.pids([pool(300)], USUAL)
    assert "76800 processes" in said
    assert "--pool-size times --pids-limit" in said
    assert "80% of the 32768" in said


def test_what_is_not_known_is_not_exceeded() -> None:
    assert machine_sums.pids([pool(9999)], Machine()) == ""
    assert machine_sums.memory_of_one([pool(memory=GIB)], Machine()) == ""
    assert machine_sums.memory_of_all([pool(9999)], Machine()) == ""


@pytest.mark.parametrize(("gib", "fits"), [(1, True), (24, True), (25, False)])
def test_one_notebook_must_fit_into_the_machine(gib: int, *, fits: bool) -> None:
    said = machine_sums.memory_of_one([pool(), pool(1, "big", memory=gib * GIB)], USUAL)
    assert (said == "") is fits
    assert fits or "--mem-limit of pool big (25600 MiB) is more than the machine has (24576 MiB)" in said


@pytest.mark.parametrize(("capacity", "fits"), [(24, True), (30, False)])
def test_over_committed_memory_is_told(capacity: int, *, fits: bool) -> None:
    assert (machine_sums.memory_of_all([pool(capacity)], USUAL) == "") is fits


@pytest.mark.parametrize(("memory", "fits"), [(GIB, True), (448 << 20, True), (256 << 20, False)])
def test_files_in_memory_must_fit_into_a_notebooks(memory: int, *, fits: bool) -> None:
    assert (machine_sums.tmpfs_of_one([pool(memory=memory)]) == "") is fits
