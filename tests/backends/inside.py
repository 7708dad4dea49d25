"""What a notebook sees of its own container: run by its kernel, as a visitor would; as text, never imported.

System calls are made with arguments that a kernel without the profile would answer otherwise (EFAULT, EINVAL, success):
only the profile says EPERM or ENOSYS to them. Numbers: arch/x86/entry/syscalls/syscall_64.tbl and
include/uapi/asm-generic/unistd.h of Linux.
"""

import ctypes
import errno
import io
import multiprocessing
import os
import platform
import pwd
import resource
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

NUMBERS = {
    # name: x86_64, aarch64, arguments
    "io_uring_setup": (425, 425, (1, 0)),
    "io_uring_enter": (426, 426, (-1, 0, 0, 0)),
    "io_uring_register": (427, 427, (-1, 0, 0, 0)),
    "unshare a user namespace": (272, 97, (0x10000000,)),
    "clone into a user namespace": (56, 220, (0x10000000 | 0x200, 0, 0, 0, 0)),
    "setns": (308, 268, (-1, 0)),
    "mount": (165, 40, (1, 1, 1, 0, 0)),
    "umount2": (166, 39, (1, 0xFFFF)),
    "fsopen": (430, 430, (1, 0xFFFF)),
    "open_tree": (428, 428, (-1, 1, 0xFFFFFFF)),
    "keyctl": (250, 219, (9999, 0, 0, 0, 0)),
    "add_key": (248, 217, (1, 1, 1, 1, 0)),
    "bpf": (321, 280, (0, 0, 8192)),
    "perf_event_open": (298, 241, (0, 0, -1, -1, 0)),
    "ptrace": (101, 117, (0x4206, 0x3FFFFF, 0, 0)),
    "process_vm_readv": (310, 270, (os.getpid(), 0, 0, 0, 0, 0)),
    "userfaultfd": (323, 282, (1,)),
    "memfd_secret": (447, 447, (0xFFFF,)),
    "personality without random addresses": (135, 92, (0x0040000,)),
    "clone3": (435, 435, (0, 0)),
    "io_setup": (206, 0, (1, 0)),
    "mq_open": (240, 180, (1, 0, 0, 0)),
    "sync": (162, 81, ()),
    "personality as it is": (135, 92, (0xFFFFFFFF,)),
}
FAMILIES = {
    "unix": 1, "inet": 2, "inet6": 10, "netlink": 16, "ax25": 3, "key": 15, "packet": 17, "rds": 21, "can": 29,
    "tipc": 30, "bluetooth": 31, "rxrpc": 33, "alg": 38, "vsock": 40, "xdp": 44,
}  # fmt: skip
LIMITS = {"nofile": 7, "core": 4, "memlock": 8, "sigpending": 11, "msgqueue": 12}
FOREIGN = {
    "x32": "libc.syscall(ctypes.c_long(0x40000000 | 39))",
    "32 bits": """
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex("b814000000 cd80 c3"))  # mov eax, getpid; int 0x80; ret
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
""",
}
"""System calls of the two other ABIs that an x86_64 kernel may know."""
libc = ctypes.CDLL(None, use_errno=True)


def named(number: int) -> str:
    return errno.errorcode.get(number, str(number)) if number else "ok"


def call(x86_64: int, aarch64: int, arguments: tuple[int, ...]) -> str:
    number = {"x86_64": x86_64, "aarch64": aarch64}[platform.machine()]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in arguments))
    return named(ctypes.get_errno()) if result < 0 else "ok"


def foreign() -> dict[str, int]:
    """How a process ended that used another ABI; a signal is negative."""
    begin = "import ctypes, mmap; libc = ctypes.CDLL(None)\n"
    wanted = FOREIGN if platform.machine() == "x86_64" else {}
    return {name: subprocess.call([sys.executable, "-ISc", begin + code]) for name, code in wanted.items()}


def attempt(work: object, *arguments: object) -> str:
    try:
        found = work(*arguments)
    except OSError as error:
        return named(error.errno)
    if isinstance(found, socket.socket):
        found.close()
    return "ok"


def room(folder: str) -> tuple[int, int]:
    """How many bytes and how many files fit."""
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize, found.f_files


def overfill(folder: str) -> list[str]:
    """What is said to one byte and to one file more than there is room for."""
    folder = Path(folder, "overfill")
    folder.mkdir()
    free, said = os.statvfs(folder), []
    try:
        descriptor = os.open(folder / "big", os.O_CREAT | os.O_WRONLY)
        said.append(attempt(os.posix_fallocate, descriptor, 0, free.f_bfree * free.f_frsize + 1))
        os.close(descriptor)
        (folder / "big").unlink()
        files = os.statvfs(folder).f_ffree
        for number in range(files):
            (folder / str(number)).touch()
        said.append(attempt((folder / "one more").touch))
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)
    return said


def fork_and_add() -> int:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return sum(pool.map(abs, [-1, -2, -3]))


def thread() -> int:
    found = []
    started = threading.Thread(target=lambda: found.append(7))
    started.start()
    started.join()
    return found[0]


def plot() -> bool:
    frame = pd.DataFrame({"a": np.linalg.solve(np.eye(200), np.arange(200.0))})
    figure, axes = plt.subplots()
    frame.plot(ax=axes)
    target = io.BytesIO()
    figure.savefig(target)
    return target.getvalue().startswith(b"\x89PNG")


def wall(path: str) -> str:
    """What is left of a path: how it can be read, and what is in it."""
    place = Path(path)
    if not place.exists():
        return "nothing"
    try:
        return "nothing" if not (list(place.iterdir()) if place.is_dir() else place.read_bytes()) else "something"
    except OSError as error:
        return named(error.errno)


def look(masked: list[str]) -> dict[str, object]:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    home = Path("/home/jovyan")
    return {
        "status": {name: int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        | {name: int(status[name]) for name in ("NoNewPrivs", "Seccomp")},
        "calls": {name: call(*how) for name, how in NUMBERS.items()},
        "foreign": foreign(),
        "sockets": {
            name: attempt(socket.socket, family, socket.SOCK_RAW if name == "netlink" else socket.SOCK_STREAM, 0)
            for name, family in FAMILIES.items()
        },
        "other protocols": sorted(
            (family, kind, protocol)
            for family in (socket.AF_INET, socket.AF_INET6)
            for kind in range(11)
            for protocol in (*range(256), 262)
            if attempt(socket.socket, family, kind, protocol) != "EPERM"
        ),
        "other netlinks": {attempt(socket.socket, 16, socket.SOCK_RAW, protocol) for protocol in range(1, 23)}
        == {"EPERM"},
        "socketpair": attempt(lambda: [end.close() for end in socket.socketpair()]),
        "write": {
            path: attempt(lambda path=path: Path(path).write_text(""))
            for path in ("/x", "/usr/x", "/etc/x", "/opt/notebook/x", "/proc/sys/kernel/domainname", "/sys/x", "/run/x")
        },
        "read-only": {
            path: bool(os.statvfs(path).f_flag & os.ST_RDONLY) for path in ("/", "/proc/sys", "/proc/irq", "/sys")
        },
        "masked": {path: wall(path) for path in masked},
        "message queue": attempt(lambda: os.close(os.open("/dev/mqueue/x", os.O_CREAT | os.O_RDWR))),
        "limits": {name: resource.getrlimit(number) for name, number in LIMITS.items()},
        "room": {path: room(path) for path in ("/home/jovyan", "/tmp")} | {"/dev/shm": room("/dev/shm")[0]},
        "overfill": {path: overfill(path) for path in ("/home/jovyan", "/tmp")},
        "home": (oct(home.stat().st_mode & 0o7777), home.stat().st_uid == os.getuid(), home.stat().st_gid),
        "who": (pwd.getpwuid(os.getuid()).pw_name, subprocess.check_output(["whoami"], text=True).strip(), os.getgid()),
        "homes": (pwd.getpwuid(os.getuid()).pw_dir, os.environ["HOME"], str(Path.cwd())),
        "names": Path("/etc/resolv.conf").read_text(),
        "oom score": int(Path("/proc/self/oom_score_adj").read_text()),
        "server's oom score": int(Path(f"/proc/{os.getppid()}/oom_score_adj").read_text()),
        "work": {"fork": fork_and_add(), "thread": thread(), "subprocess": subprocess.call(["true"]), "plot": plot()},
        "uid": os.getuid(),
    }
