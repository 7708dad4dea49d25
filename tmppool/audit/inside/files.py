"""Probes of files: writable places, readable files of the host, mount flags and devices."""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Iterator

from tmppool.audit.inside.outcome import error_name, fails, is_equal, read

if TYPE_CHECKING:
    from tmppool.audit.inside.outcome import Facts, Outcome, Probe

_NULL = os.makedev(1, 3)
_DEVICES = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"}
_WALK = 4000  # files checked below one mount


def probes(facts: Facts) -> list[Probe]:
    home = facts["home"]
    return [
        # The kernel checks for a read-only mount before permissions: another error means a writable mount.
        *((f"readonly-{name}", partial(fails, os.mkdir, (f"{path}/.probe",), "EROFS"))
          for name, path in facts["readonly"]),
        *((f"mounted-readonly-{name}", partial(_has_flag, [path], "ro")) for name, path in facts["mounted_readonly"]),
        *((f"unwritable-{name}", partial(fails, os.open, (path, os.O_WRONLY))) for name, path in facts["unwritable"]),
        *((f"masked-{name}", partial(_is_empty, path)) for name, path in facts["masked"]),
        ("no-setuid-files", partial(_has_flag, [home, "/tmp", "/dev/shm"], "nosuid")),
        ("no-device-files", partial(_has_flag, [home, "/tmp", "/dev/shm"], "nodev")),
        ("mknod", partial(fails, os.mknod, ("/tmp/.probe", stat.S_IFCHR | 0o600, _NULL), "EPERM")),
        ("devices", _devices),
        ("host-socket", _host_socket),
        ("home-size", partial(_size, home, facts["home_size"])),
        ("home-inodes", partial(_inodes, home, facts["home_inodes"])),
        ("tmp-size", partial(_size, "/tmp", facts["tmp_size"])),
        ("tmp-inodes", partial(_inodes, "/tmp", facts["tmp_inodes"])),
        ("shm-size", partial(_size, "/dev/shm", facts["shm_size"])),
    ]  # fmt: skip


def _mounts() -> dict[str, list[str]]:
    """Return the flags of each mount point (proc(5), mountinfo). The last mount on a path counts."""
    lines = (line.split() for line in read("/proc/self/mountinfo").splitlines())
    return {words[4]: words[5].split(",") for words in lines}


def _has_flag(paths: list[str], flag: str) -> Outcome:
    """Hold if the mounts of these paths have the flag; a path that does not exist is ignored."""
    mounts = _mounts()
    without = [path for path in paths if os.path.exists(path) and flag not in mounts[_mount_of(path, mounts)]]
    return not without, f"{' '.join(without) or ' '.join(paths)}: {'not ' if without else ''}{flag}"


def _mount_of(path: str, mounts: dict[str, list[str]]) -> str:
    while path not in mounts and path != "/":
        path = os.path.dirname(path)
    return path


def _is_empty(path: str) -> Outcome:
    try:
        if os.path.isdir(path):
            has_more = bool(os.listdir(path))
        else:
            with open(path, "rb") as file:
                has_more = bool(file.read(1))
    except OSError as error:
        return True, error_name(error.errno)
    return not has_more, f"{path} can be read" if has_more else "empty"


def _devices() -> Outcome:
    found = []
    for path in _walk("/dev"):
        mode = os.lstat(path).st_mode
        is_usual = os.path.basename(path) in _DEVICES or path.startswith("/dev/pts/")
        if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and not is_usual):
            found.append(path)
    return not found, f"{len(found)} more, as {found[0]}" if found else "the usual ones"


def _host_socket() -> Outcome:
    """Hold if no mount is or contains a socket, above all the engine's."""
    places = [place for place in _mounts() if place != "/" and not place.startswith(("/proc", "/sys", "/dev"))]
    for place in [*places, "/run", "/var/run"]:
        for path in _walk(place):
            if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
                return False, path
    return True, "none"


def _walk(place: str) -> Iterator[str]:
    """Yield the paths of the files below a directory, or the path of a file itself."""
    if not os.path.isdir(place):
        yield place
        return
    looked = 0
    for folder, _, names in os.walk(place):
        for name in names:
            looked += 1
            if looked > _WALK:
                return
            yield os.path.join(folder, name)


def _size(path: str, wanted: int) -> Outcome:
    seen, page = os.statvfs(path), os.sysconf("SC_PAGE_SIZE")
    size = seen.f_blocks * seen.f_frsize
    return 0 < size <= wanted + page, f"{size} bytes of {wanted}"


def _inodes(path: str, wanted: int) -> Outcome:
    return is_equal(os.statvfs(path).f_files, wanted)
