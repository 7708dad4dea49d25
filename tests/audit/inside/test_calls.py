"""System calls by their number, each in a process of its own."""

import errno
import os
import platform
import signal
import socket
from pathlib import Path

import pytest

from tmppool.audit.inside import calls

GETPID = {"x86_64": 39, "aarch64": 172}[platform.machine()]
NOT_THERE = 100_000


def test_a_call_that_works_is_not_refused() -> None:
    assert calls._refused([GETPID], ["EPERM"]) == (False, "it worked")


def test_only_the_error_that_is_right_holds() -> None:
    assert calls._refused([NOT_THERE], ["ENOSYS"]) == (True, "ENOSYS")
    assert calls._refused([NOT_THERE], ["EPERM"]) == (False, "ENOSYS")


def test_a_call_that_ends_the_process_is_refused() -> None:
    assert calls._in_child(lambda: os.kill(os.getpid(), signal.SIGSYS) or 0) == -signal.SIGSYS


def test_what_a_probe_changes_ends_with_it() -> None:
    before = Path.cwd()
    assert calls._in_child(lambda: os.chdir("/") or 7) == 7
    assert Path.cwd() == before


def test_an_action_that_raises_is_no_success() -> None:
    assert calls._in_child(lambda: 1 // 0) == 255


def test_a_call_of_another_architecture_that_is_answered_does_not_hold() -> None:
    assert calls._foreign(lambda: 0) == (False, "it worked")
    assert calls._foreign(lambda: errno.ENOSYS) == (True, "ENOSYS")
    assert calls._foreign(lambda: os.kill(os.getpid(), signal.SIGTERM) or 0) == (False, "SIGTERM")


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_a_socket_that_can_be_made_is_told_both_ways(family: int) -> None:
    facts = {"calls": [], "sockets": [("some", (family, socket.SOCK_STREAM, 0)), ("none", (77, 1, 0))]}
    found = dict(calls.probes(facts))
    assert found["socket-some"]() == (False, "it worked")
    assert found["socket-none"]() == (False, "EAFNOSUPPORT")
    assert calls._opens(family) == (True, "it worked")
    assert calls._opens(77) == (False, "EAFNOSUPPORT")


def test_a_call_that_this_machine_lacks_is_not_tried() -> None:
    facts = {
        "calls": [("here", {platform.machine(): GETPID}, [], ["EPERM"]), ("there", {"z80": 1}, [], [])],
        "sockets": [],
    }
    names = [name for name, _ in calls.probes(facts)]
    assert "call-here" in names
    assert "call-there" not in names
