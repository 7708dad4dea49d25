"""What a hostile visitor may run, one function each: ``python3 attacks.py NAME`` prints one JSON object.

Standard library only: this runs inside a notebook's container, as the visitor's own code.
"""

import contextlib
import ctypes
import errno
import json
import os
import resource
import signal
import socket
import stat
import sys
import threading
import time
from pathlib import Path

HOME = Path(os.environ["HOME"])
LIBC = ctypes.CDLL(None, use_errno=True)
SECONDS = 3.0


def name_of(number: int) -> str:
    return errno.errorcode.get(number, str(number))


def until_refused(step, most: int = 200_000) -> dict:
    """Repeat until the kernel says no; how often it said yes, and its last word."""
    for done in range(most):
        try:
            step(done)
        except OSError as error:
            return {"done": done, "refused": name_of(error.errno or 0)}
        except (RuntimeError, MemoryError) as error:
            return {"done": done, "refused": type(error).__name__}
    return {"done": most, "refused": ""}


def called(number: int, *arguments: int) -> str:
    """Make a system call; the name of its error, empty when it was allowed."""
    ctypes.set_errno(0)
    return "" if LIBC.syscall(number, *arguments) >= 0 else name_of(ctypes.get_errno())


def refused(action) -> str:
    try:
        action()
    except OSError as error:
        return name_of(error.errno or 0)
    return ""


# Too much of everything


def fork_bomb() -> dict:
    def fork(_done: int) -> None:
        if os.fork() == 0:
            time.sleep(SECONDS)
            os._exit(0)

    return until_refused(fork)


def endless_forks() -> dict:
    """Every child forks on as well, for as long as the notebook lives."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if os.fork() == 0:
                deadline = time.monotonic() + SECONDS
    return {}


def thread_bomb() -> dict:
    threading.stack_size(64 * 1024)
    return until_refused(lambda _done: threading.Thread(target=time.sleep, args=(SECONDS,), daemon=True).start())


def memory_hog() -> dict:
    child = os.fork()
    if child == 0:
        hoard = []
        while True:
            hoard.append(bytearray(os.urandom(1 << 16)) * 256)
    _, status = os.waitpid(child, 0)
    return {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}


def _fill(folder: Path) -> dict:
    piece = b"x" * (1 << 20)
    with (folder / "filler").open("wb", buffering=0) as file:
        return until_refused(lambda _done: file.write(piece))


def home_filler() -> dict:
    return _fill(HOME)


def tmp_filler() -> dict:
    return _fill(Path("/tmp"))


def shm_filler() -> dict:
    return _fill(Path("/dev/shm"))


def inode_filler() -> dict:
    return until_refused(lambda done: (HOME / f"file{done}").touch())


def deep_directories() -> dict:
    os.chdir(HOME)

    def deeper(_done: int) -> None:
        Path("d").mkdir()
        os.chdir("d")

    return until_refused(deeper)


def log_spam() -> dict:
    line = b"spam " * 13_000 + b"\n"
    deadline, written = time.monotonic() + SECONDS, 0
    while time.monotonic() < deadline:
        written += os.write(2, line)
    return {"written": written}


def cpu_burner() -> dict:
    children = []
    began = time.monotonic()
    for _ in range(8):
        child = os.fork()
        if child == 0:
            while time.monotonic() - began < SECONDS:
                pass
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cores": (used.ru_utime + used.ru_stime) / (time.monotonic() - began)}


def page_cache_thrasher() -> dict:
    deadline, read = time.monotonic() + SECONDS, 0
    while time.monotonic() < deadline:
        for path in Path("/usr").rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    read += len(path.read_bytes())
            if time.monotonic() > deadline:
                break
    return {"read": read}


def open_and_close() -> dict:
    deadline, done = time.monotonic() + SECONDS, 0
    while time.monotonic() < deadline:
        os.close(os.open("/", os.O_RDONLY))
        done += 1
    return {"done": done}


def descriptor_hoarder() -> dict:
    held: list[int] = []
    return until_refused(lambda _done: held.append(os.open("/", os.O_RDONLY)))


def pty_hoarder() -> dict:
    held: list[int] = []
    return until_refused(lambda _done: held.extend(os.openpty()))


def inotify_hoarder() -> dict:
    def make(_done: int) -> None:
        if LIBC.inotify_init() < 0:
            raise OSError(ctypes.get_errno(), "")

    found = until_refused(make)
    time.sleep(SECONDS)
    return found


def zombie_factory() -> dict:
    def fork(_done: int) -> None:
        if os.fork() == 0:
            os._exit(0)

    return until_refused(fork)


def signal_storm() -> dict:
    signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    deadline, sent = time.monotonic() + SECONDS, 0
    while time.monotonic() < deadline:
        os.kill(os.getpid(), signal.SIGUSR1)
        sent += 1
    return {"sent": sent}


# Out of the box


def socket_families() -> dict:
    allowed = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}
    found = {}
    for family in range(1, 46):
        if family not in allowed:
            kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET)
            found[family] = sorted({refused(lambda f=family, k=kind: socket.socket(f, k).close()) for kind in kinds})
    return {"answers": sorted({answer for answers in found.values() for answer in answers}), "families": len(found)}


def raw_sockets() -> dict:
    kinds = [(socket.AF_INET, socket.IPPROTO_ICMP), (socket.AF_INET, socket.IPPROTO_RAW), (socket.AF_INET6, 58)]
    return {"answers": sorted({refused(lambda f=f, p=p: socket.socket(f, socket.SOCK_RAW, p)) for f, p in kinds})}


def namespaces() -> dict:
    flags = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
    answers = set()
    for flag in flags:
        ctypes.set_errno(0)
        answers.add("" if LIBC.unshare(flag) == 0 else name_of(ctypes.get_errno()))
    return {"answers": sorted(answers)}


def ptrace() -> dict:
    child = os.fork()
    if child == 0:
        time.sleep(SECONDS)
        os._exit(0)
    ctypes.set_errno(0)
    answer = "" if LIBC.ptrace(16, child, 0, 0) == 0 else name_of(ctypes.get_errno())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return {"answers": [answer]}


def scan() -> dict:
    """Metadata services, the host, the neighbours: whoever answers, be it with a refusal of a live host."""
    hosts = ["169.254.169.254", "100.100.100.200", "172.17.0.1", "172.17.0.2", "172.18.0.1", "10.0.0.1", "192.168.1.1",
             "192.0.2.1", "1.1.1.1", "8.8.8.8"]  # fmt: skip
    reached = []
    for host in hosts:
        for port in (22, 53, 80, 2375, 8000, 8888, 10_000):
            with socket.socket() as sock:
                sock.settimeout(0.2)
                if sock.connect_ex((host, port)) in (0, errno.ECONNREFUSED):
                    reached.append(f"{host}:{port}")
    with contextlib.suppress(OSError):
        reached.append(socket.gethostbyname("example.org"))
    return {"reached": reached, "interfaces": sorted(name for _, name in socket.if_nameindex())}


def kernel_settings() -> dict:
    """Write to what steers the kernel; what could be written."""
    written = []
    paths = [
        "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches",
        "/proc/sys/kernel/pid_max", "/proc/sysrq-trigger", "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/pids/pids.max", "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/release_agent", "/proc/1/oom_score_adj",
        "/etc/passwd", "/usr/bin/env", "/etc/ld.so.preload",
    ]  # fmt: skip
    for path in paths:
        with contextlib.suppress(OSError):
            value = "-1000" if path.endswith("oom_score_adj") else "1"
            with Path(path).open("w") as file:
                file.write(value)
            written.append(path)
    return {"written": written}


def host_files() -> dict:
    """Read what belongs to the host; what could be read."""
    paths = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/dev/mem", "/dev/kmsg",
             "/var/run/docker.sock", "/run/docker.sock", "/etc/shadow", "/dev/sda", "/dev/vda"]  # fmt: skip
    got = []
    for path in paths:
        with contextlib.suppress(OSError), Path(path).open("rb") as file:
            if file.read(1):
                got.append(path)
    return {"read": got}


def devices_and_links() -> dict:
    """Device nodes, mounts, roots and set-user-id files."""
    link = HOME / "shadow"
    link.symlink_to("/etc/shadow")
    own = HOME / "shell"
    own.write_bytes(Path("/bin/sh").read_bytes())
    own.chmod(0o6755)
    steps = {
        "device": lambda: os.mknod(HOME / "disk", 0o600 | stat.S_IFBLK, os.makedev(8, 0)),
        "chroot": lambda: os.chroot(HOME),
        "root": lambda: os.setuid(0),
        "group": lambda: os.setgid(0),
        "shadow": link.read_bytes,
        "nice": lambda: os.nice(-5) and None,
        "realtime": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        "host name": lambda: socket.sethostname("mine"),
        "give away": lambda: os.chown(own, 0, 0),
        "mount": _mount,
        "set-user-id": lambda: _set_user_id(own),
    }
    return {"allowed": [name for name, step in steps.items() if not refused(step)]}


def _mount() -> None:
    if LIBC.mount(b"none", str(HOME).encode(), b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "")


def _set_user_id(shell: Path) -> None:
    before = os.geteuid()
    os.chown(shell, -1, -1)
    with os.popen(f"{shell} -p -c 'id -u'") as said:
        if int(said.read()) == before:
            raise OSError(errno.EPERM, "")


# Itself


def kill_server() -> dict:
    os.kill(os.getppid(), signal.SIGKILL)
    return {}


def stop_everything() -> dict:
    """Freeze all processes, the first one included if it lets itself be."""
    os.setpgid(0, 0)
    os.kill(-1, signal.SIGSTOP)
    return {}


def ignore_every_signal() -> dict:
    for number in range(1, signal.NSIG):
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    time.sleep(SECONDS)
    return {}


# The neighbour's view


def neighbour_can() -> dict:
    """What somebody else's hoarding must not take away."""
    kept = []
    if LIBC.inotify_init() >= 0:
        kept.append("watch files")
    with contextlib.suppress(OSError):
        os.openpty()
        kept.append("open a terminal")
    with contextlib.suppress(OSError):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        kept.append("start a process")
    with contextlib.suppress(OSError):
        _, writer = os.pipe()
        os.set_blocking(writer, False)
        if os.write(writer, b"x" * 65_536) == 65_536:
            kept.append("fill a pipe")
    return {"kept": kept}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(globals()[sys.argv[1]]()))
    sys.stdout.flush()
    os._exit(0)
