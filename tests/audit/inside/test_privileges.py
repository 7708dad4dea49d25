"""Who the code is: judged from what the kernel says of a process."""

import os
from pathlib import Path

import pytest

from tmppool.audit.inside import privileges

STATUS = "Uid:\t1000\t1000\t1000\t1000\nGid:\t100\t100\t100\t100\nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\n"


@pytest.fixture
def status(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    text = [STATUS]
    monkeypatch.setattr(privileges, "read", lambda _path: text[0])
    monkeypatch.setattr(os, "getgroups", list)
    return text


def test_an_empty_set_of_capabilities_holds_and_any_other_does_not(status: list[str]) -> None:
    assert privileges._capabilities("CapEff") == (True, "0000000000000000")
    assert privileges._capabilities("CapBnd") == (False, "00000000a80425fb")


def test_what_the_kernel_does_not_say_does_not_hold(status: list[str]) -> None:
    assert privileges._capabilities("CapAmb") == (False, "unknown")
    assert privileges._status_is("Seccomp", "2")[0] is False


def test_none_of_the_four_user_numbers_may_be_0(status: list[str]) -> None:
    assert privileges._without_zero("Uid") == (True, "1000")
    status[0] = STATUS.replace("Uid:\t1000\t1000\t1000", "Uid:\t1000\t1000\t0")
    assert privileges._without_zero("Uid") == (False, "0 1000")


def test_no_other_group_may_be_0(status: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert privileges._without_zero("Gid") == (True, "100")
    monkeypatch.setattr(os, "getgroups", lambda: [0])
    assert privileges._without_zero("Gid") == (False, "0 100")


def test_a_user_number_outside_the_pools_does_not_hold() -> None:
    uid = os.getuid()
    assert privileges._own_user([uid, uid + 5])[0]
    assert not privileges._own_user([uid + 1, uid + 5])[0]


def test_a_secret_of_the_service_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_AUTH_TOKEN", "x")
    assert privileges._environment(["ADMIN_AUTH_TOKEN", "OTHER_TOKEN_OF_NOBODY"]) == (False, "ADMIN_AUTH_TOKEN")


def test_a_setuid_program_that_becomes_root_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing refuses new privileges here, so what such a program of this machine becomes is root.
    held, seen = privileges._setuid_program()
    assert held == seen.startswith("no setuid program")
    monkeypatch.setattr(privileges, "_SETUID", ("nothing-of-that-name",))
    assert privileges._setuid_program() == (True, "no setuid program was found")
