"""A Docker Engine of the tests' own: a second dockerd with its own containerd, which may be killed, stopped and filled.

Everything of it is apart from the machine's engine: files on a file system of their own, a loop device that can be
full; its sockets; its bridge. The bridge must be named, and no pool of addresses: a dockerd without the one, or with the
other and without live-restore, deletes ``docker0``, which is the machine's engine's. Needs root.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil

IMAGE = "tmppool/debian:latest"
_DISK = 6 << 30  # bytes, sparse: the image takes 1.2 GB while it is loaded
_SPARE = 16 << 20  # bytes that are filled by writing, as not all that is said to be free can be allocated
_CONFIG = {"live-restore": True}


class OwnEngine:
    """``socket`` is the path of its socket; ``docker`` runs the command line against it."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="tmppool-chaos-"))
        self.socket = self._home / "docker.sock"
        self._disk, self._data, self._config = self._home / "disk", self._home / "data", self._home / "daemon.json"
        self._bridge = f"chaos{os.getpid()}"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def data(self) -> Path:
        """The directory on whose file system everything of it is."""
        return self._data

    @property
    def log(self) -> str:
        return (self._home / "log").read_text(errors="replace")

    async def open(self) -> None:
        """Start it, with the notebook image. Takes about 15 s."""
        await _run("ip", "link", "add", self._bridge, "type", "bridge")
        await _run("ip", "address", "add", "10.212.0.1/24", "dev", self._bridge)
        await _run("ip", "link", "set", self._bridge, "up")
        with self._disk.open("wb") as disk:
            disk.truncate(_DISK)
        await _run("mkfs.ext4", "-q", "-m", "0", str(self._disk))
        self._data.mkdir()
        await _run("mount", "-o", "loop", str(self._disk), str(self._data))
        self._write_config(live_restore=True)
        await self.start()
        await _run("sh", "-c", f"docker save {IMAGE} | docker --host=unix://{self.socket} load")

    async def start(self) -> None:
        """Start dockerd and return when it answers, at most a minute later."""
        self._forget_dead_processes()
        with (self._home / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                "dockerd", f"--config-file={self._config}", f"--host=unix://{self.socket}",
                f"--data-root={self._data}", f"--exec-root={self._home / 'exec'}", f"--pidfile={self._home / 'pid'}",
                f"--bridge={self._bridge}", "--iptables=false", "--ip6tables=false", "--ip-masq=false",
                "--ip-forward=false", "--userland-proxy=false", "--storage-driver=overlay2",
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        async with asyncio.timeout(60):
            while not await self._answers():
                assert self._process.returncode is None, self.log[-2000:]
                await asyncio.sleep(0.1)

    async def kill(self) -> None:
        """Kill dockerd as the kernel would. Its containerd and containers go on."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def ensure(self) -> None:
        """Let it go on, or start it again, after whatever happened to it."""
        assert self._process is not None
        if self._process.returncode is not None:
            await self.start()
        self.go_on()

    def stand_still(self) -> None:
        """Stop dockerd as a debugger does: it accepts connections and answers none."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    async def keep_containers(self, *, live_restore: bool) -> None:
        """Choose whether containers survive a start of dockerd (live-restore)."""
        self._write_config(live_restore=live_restore)
        self._signal(signal.SIGHUP)
        async with asyncio.timeout(20):
            while await self.docker("info", "--format={{.LiveRestoreEnabled}}") != str(live_restore).lower():
                await asyncio.sleep(0.1)

    def kill_containerd(self) -> None:
        """Kill containerd; dockerd starts it again."""
        os.kill(int((self._home / "exec/containerd/containerd.pid").read_text()), signal.SIGKILL)

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """Leave no room where images and containers are."""
        filler = self._data / "filler"
        status = os.statvfs(self._data)
        try:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                os.posix_fallocate(file.fileno(), 0, max(1, status.f_bavail * status.f_frsize - _SPARE))
                file.seek(0, os.SEEK_END)
                while True:
                    file.write(b"x" * 65536)
            yield
        finally:
            filler.unlink(missing_ok=True)

    async def docker(self, *words: str) -> str:
        """Run ``docker`` against this engine; return what it prints, empty if it fails."""
        child = await asyncio.create_subprocess_exec(
            "docker", f"--host=unix://{self.socket}", *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return (await child.communicate())[0].decode().strip()
        finally:
            if child.returncode is None:
                child.kill()

    async def clear(self) -> None:
        """Remove all containers, volumes and networks that are not its own."""
        if found := (await self.docker("ps", "-aq")).split():
            await self.docker("rm", "--force", *found)
        await self.docker("volume", "prune", "--force")
        await self.docker("network", "prune", "--force")

    async def close(self) -> None:
        """End it and everything that it runs; leave nothing on the machine."""
        with contextlib.suppress(AssertionError, TimeoutError, OSError):
            await self.ensure()
            async with asyncio.timeout(60):
                await self.clear()
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), 30)
            if self._process.returncode is None:
                await self.kill()
        self._kill_the_rest()
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self._home}/")]):
            await _run("umount", "--lazy", mount, may_fail=True)
        await _run("ip", "link", "delete", self._bridge, may_fail=True)
        shutil.rmtree(self._home, ignore_errors=True)

    def _write_config(self, *, live_restore: bool) -> None:
        self._config.write_text(json.dumps({**_CONFIG, "live-restore": live_restore}))

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def _answers(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                return bool(await self.docker("version", "--format={{.Server.Version}}"))
        return False

    def _forget_dead_processes(self) -> None:
        """Remove PID files whose process is dead: dockerd would take another process of that number for its own."""
        for path in (self._home / "pid", self._home / "exec/containerd/containerd.pid"):
            try:
                is_dead = psutil.Process(int(path.read_text())).status() == psutil.STATUS_ZOMBIE
            except (OSError, ValueError, psutil.NoSuchProcess):
                is_dead = True
            if is_dead:
                path.unlink(missing_ok=True)

    def _kill_the_rest(self) -> None:
        """Kill what names this engine's directory: its containerd, and shims that lost theirs with their containers."""
        for process in psutil.process_iter(["cmdline", "name"]):
            words = process.info["cmdline"] or []
            if process.info["name"].startswith("containerd") and any(str(self._home) in word for word in words):
                with contextlib.suppress(psutil.NoSuchProcess):
                    for each in [*process.children(recursive=True), process]:
                        each.kill()


@contextlib.asynccontextmanager
async def own_engine() -> AsyncIterator[OwnEngine]:
    engine = OwnEngine()
    try:
        await engine.open()
        yield engine
    finally:
        await engine.close()


async def _run(*words: str, may_fail: bool = False) -> None:
    child = await asyncio.create_subprocess_exec(*words, stdout=sys.stderr, stderr=asyncio.subprocess.STDOUT)
    status = await child.wait()
    assert may_fail or status == 0, f"{' '.join(words)}: exit status {status}"
