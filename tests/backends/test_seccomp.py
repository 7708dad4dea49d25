"""The table of system calls, and the text that an engine reads. What it does is tried in test_inside.py."""

import json
import re
from pathlib import Path

import pytest

from tmppool.backends import seccomp
from tmppool.errors import BackendError

RULES = json.loads(seccomp.PROFILE)["syscalls"]
TABLES = (seccomp.ALLOWED, seccomp.REFUSED, seccomp.MISSING, seccomp.IDLE)
CONDITIONAL = {"clone", "socket", "socketpair", "personality"}


def rules(name: str) -> list[dict[str, object]]:
    return [rule for rule in RULES if name in rule["names"]]


def test_no_call_stands_twice() -> None:
    names = [name for table in TABLES for words in table.values() for name in words.split()]
    assert len(names) == len(set(names))
    assert not CONDITIONAL & set(names)


def test_every_name_is_one_that_a_kernel_could_have() -> None:
    names = {name for table in TABLES for words in table.values() for name in words.split()}
    assert [name for name in names if not re.fullmatch(r"_?[a-z][a-z0-9_]+", name)] == []


def test_what_stands_nowhere_is_refused_and_only_native_calls_get_in() -> None:
    profile = json.loads(seccomp.PROFILE)
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert profile["archMap"] == [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
    ]
    assert set(profile) == {"defaultAction", "archMap", "syscalls"}


ALLOW = {"action": "SCMP_ACT_ALLOW", "args": []}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("read", ALLOW),
        ("execve", ALLOW),
        ("statx", ALLOW),
        ("inotify_init1", ALLOW),
        ("io_uring_setup", {"action": "SCMP_ACT_ERRNO", "errnoRet": 1}),
        ("unshare", {"action": "SCMP_ACT_ERRNO", "errnoRet": 1}),
        ("socketcall", {"action": "SCMP_ACT_ERRNO", "errnoRet": 1}),
        ("clone3", {"action": "SCMP_ACT_ERRNO", "errnoRet": 38}),
        ("io_setup", {"action": "SCMP_ACT_ERRNO", "errnoRet": 38}),
        ("mq_open", {"action": "SCMP_ACT_ERRNO", "errnoRet": 38}),
        ("sync", {"action": "SCMP_ACT_ERRNO", "errnoRet": 0}),
    ],
)
def test_what_is_said_to_a_call(name: str, expected: dict[str, object]) -> None:
    (rule,) = rules(name)
    assert {key: value for key, value in rule.items() if key != "names"} == expected


def equal(index: int, value: int) -> dict[str, object]:
    return {"index": index, "value": value, "valueTwo": 0, "op": "SCMP_CMP_EQ"}


def of_type(kind: int) -> dict[str, object]:
    return {"index": 1, "value": 0xF, "valueTwo": kind, "op": "SCMP_CMP_MASKED_EQ"}


@pytest.mark.parametrize(
    ("name", "conditions"),
    [
        (
            "socket",
            [
                [equal(0, 1)],
                [equal(0, 16), equal(2, 0)],
                *([equal(0, 2), of_type(1), equal(2, protocol)] for protocol in (0, 6)),
                *([equal(0, 2), of_type(2), equal(2, protocol)] for protocol in (0, 17, 1)),
                *([equal(0, 10), of_type(1), equal(2, protocol)] for protocol in (0, 6)),
                *([equal(0, 10), of_type(2), equal(2, protocol)] for protocol in (0, 17, 58)),
            ],
        ),
        ("socketpair", [[equal(0, 1)]]),
        ("personality", [[equal(0, 0)], [equal(0, 0x20000)], [equal(0, 0xFFFFFFFF)]]),
        ("clone", [[{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]]),
    ],
)
def test_a_call_that_is_allowed_with_some_arguments(name: str, conditions: list[object]) -> None:
    assert [rule["args"] for rule in rules(name)] == conditions
    assert {rule["action"] for rule in rules(name)} == {"SCMP_ACT_ALLOW"}


# The setting


def test_ours_and_the_engines_own() -> None:
    assert seccomp.load("tmppool") == seccomp.PROFILE
    assert seccomp.load("engine") is None


def test_a_file_is_passed_on_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text('{ "defaultAction": "SCMP_ACT_ALLOW" }\n')
    assert seccomp.load(str(path)) == '{ "defaultAction": "SCMP_ACT_ALLOW" }\n'


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'["defaultAction"]', 'has no "defaultAction"'),
        (b'"defaultAction"', 'has no "defaultAction"'),
        (b"{}", 'has no "defaultAction"'),
    ],
)
def test_a_file_that_is_no_profile_is_told_in_one_sentence(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "profile.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BackendError) as caught:
        seccomp.load(str(path))
    assert str(caught.value) == (
        f"--seccomp: {path} {problem}; it must be tmppool, engine or a file in the engine's profile format"
    )
    assert not caught.value.transient


def test_a_directory_is_no_profile(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"cannot be read \(Is a directory\)"):
        seccomp.load(str(tmp_path))
