"""Files: what can be read, what is mounted how, what was given in."""

import os
import socket
from pathlib import Path

import pytest

from tmppool.audit.inside import files

MOUNTS = """\
21 1 0:20 / / ro,relatime - overlay overlay rw
22 21 0:21 / /proc rw,nosuid,nodev - proc proc rw
23 22 0:21 /sys /proc/sys ro,nosuid - proc proc rw
24 21 0:30 / /tmp rw,nosuid - tmpfs tmpfs rw
"""


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "read", lambda _path: MOUNTS.strip())


def test_a_flag_is_looked_for_on_the_mount_that_a_path_lies_in(mounts: None) -> None:
    assert files._has_flag(["/", "/proc/sys", "/proc/sys/kernel", "/usr"], "ro")[0]
    assert files._has_flag(["/proc"], "ro") == (False, "/proc: not ro")
    assert files._has_flag(["/proc/self"], "ro") == (False, "/proc/self: not ro")
    assert files._has_flag(["/tmp"], "nodev") == (False, "/tmp: not nodev")
    assert files._has_flag(["/tmp/nothing-of-that-name"], "nodev")[0]


def test_what_can_be_read_is_not_masked(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_text("secret")
    (tmp_path / "folder").mkdir()
    assert files._is_empty(str(tmp_path / "empty"))[0]
    assert files._is_empty(str(tmp_path / "folder"))[0]
    assert files._is_empty(str(tmp_path / "missing")) == (True, "ENOENT")
    assert not files._is_empty(str(tmp_path / "full"))[0]
    assert not files._is_empty(str(tmp_path))[0]


@pytest.mark.parametrize("name", ["engine.sock", "renamed"])
def test_a_socket_below_a_mount_is_found_whatever_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_mounts", lambda: {"/": [], str(tmp_path): []})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"deep/{name}")
        assert files._host_socket() == (False, str(tmp_path / "deep" / name))


def test_a_mount_that_is_a_socket_itself_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_mounts", lambda: {str(tmp_path / "s"): []})
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("s")
        assert files._host_socket() == (False, str(tmp_path / "s"))


def test_a_device_beyond_the_usual_ones_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_walk", lambda _place: iter(["/dev/null", "/dev/tty"]))
    assert files._devices() == (True, "the usual ones")
    monkeypatch.setattr(files, "_DEVICES", {"tty"})
    assert files._devices() == (False, "1 more, as /dev/null")


def test_a_size_beyond_the_wanted_one_does_not_hold(tmp_path: Path) -> None:
    seen = os.statvfs(tmp_path)
    size = seen.f_blocks * seen.f_frsize
    assert files._size(str(tmp_path), size)[0]
    assert not files._size(str(tmp_path), size // 2)[0]
    assert files._inodes(str(tmp_path), seen.f_files)[0]
    assert not files._inodes(str(tmp_path), seen.f_files + 1)[0]
