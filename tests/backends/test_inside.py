"""The default container, looked at by a visitor's own kernel and terminal in the real Jupyter."""

import asyncio
import json
import platform
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiodocker
import pytest

from tests.backends.contract import KEY, OTHER
from tests.backends.test_docker import DockerSite, docker  # noqa: F401 - a fixture
from tests.backends.test_docker import spec as default_spec
from tests.specs import spec_of
from tmppool.backends.docker import DockerBackend
from tmppool.build_image import build
from tmppool.jupyter import JupyterClient
from tmppool.running import Running

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]  # the first test may have to build the image

LOOK = Path(__file__).with_name("inside.py").read_text()
MIB = 1 << 20
MASKED = [
    "/proc/acpi", "/proc/allocinfo", "/proc/asound", "/proc/bootconfig", "/proc/buddyinfo", "/proc/bus",
    "/proc/cmdline", "/proc/config.gz", "/proc/consoles", "/proc/crypto", "/proc/device-tree", "/proc/devices",
    "/proc/diskstats", "/proc/dma", "/proc/driver", "/proc/dynamic_debug", "/proc/execdomains", "/proc/fb",
    "/proc/fs", "/proc/interrupts", "/proc/iomem", "/proc/ioports", "/proc/irq", "/proc/kallsyms", "/proc/kcore",
    "/proc/key-users", "/proc/keys", "/proc/kmsg", "/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags",
    "/proc/latency_stats", "/proc/lock_stat", "/proc/locks", "/proc/mdstat", "/proc/misc", "/proc/modules",
    "/proc/mtrr", "/proc/pagetypeinfo", "/proc/partitions", "/proc/pressure", "/proc/sched_debug",
    "/proc/schedstat", "/proc/scsi", "/proc/slabinfo", "/proc/softirqs", "/proc/swaps", "/proc/timer_list",
    "/proc/timer_stats", "/proc/vmallocinfo", "/proc/vmcore", "/proc/zoneinfo", "/sys/devices/virtual/dmi",
    "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/bpf", "/sys/fs/pstore", "/sys/hypervisor",
    "/sys/kernel/boot_params", "/sys/kernel/btf", "/sys/kernel/debug", "/sys/kernel/iommu_groups",
    "/sys/kernel/irq", "/sys/kernel/notes", "/sys/kernel/security", "/sys/kernel/slab", "/sys/kernel/tracing",
    "/sys/kernel/vmcoreinfo", "/sys/module", "/sys/power",
]  # fmt: skip

REFUSED = [
    "io_uring_setup", "io_uring_enter", "io_uring_register", "unshare a user namespace", "clone into a user namespace",
    "setns", "mount", "umount2", "fsopen", "open_tree", "keyctl", "add_key", "bpf", "perf_event_open", "ptrace",
    "process_vm_readv", "userfaultfd", "memfd_secret", "personality without random addresses",
]  # fmt: skip
EXPECTED = {
    "status": {
        "CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0,
        "NoNewPrivs": 1,
        "Seccomp": 2,
    },
    "calls": dict.fromkeys(REFUSED, "EPERM")
    | dict.fromkeys(["clone3", "io_setup", "mq_open"], "ENOSYS")
    | {"sync": "ok", "personality as it is": "ok"},
    "foreign": dict.fromkeys(["x32", "32 bits"], -signal.SIGSYS) if platform.machine() == "x86_64" else {},
    "sockets": dict.fromkeys(["unix", "inet", "inet6", "netlink"], "ok")
    | dict.fromkeys(
        ["ax25", "key", "packet", "rds", "can", "tipc", "bluetooth", "rxrpc", "alg", "vsock", "xdp"], "EPERM"
    ),
    "other protocols": [
        [2, 1, 0], [2, 1, 6], [2, 2, 0], [2, 2, 1], [2, 2, 17], [10, 1, 0], [10, 1, 6], [10, 2, 0], [10, 2, 17], [10, 2, 58],
    ],
    "other netlinks": True,
    "socketpair": "ok",
    "write": dict.fromkeys(["/x", "/usr/x", "/etc/x", "/opt/notebook/x", "/run/x"], "EROFS")
    | {"/proc/sys/kernel/domainname": "EROFS", "/sys/x": "EROFS"},
    "read-only": {"/": True, "/proc/sys": True, "/proc/irq": True, "/sys": True},
    "masked": dict.fromkeys(MASKED, "nothing"),
    "message queue": "EMFILE",
    "limits": {
        "nofile": [4096, 4096],
        "core": [0, 0],
        "memlock": [65536, 65536],
        "sigpending": [4096, 4096],
        "msgqueue": [0, 0],
    },
    "room": {"/home/jovyan": [256 * MIB, 32768], "/tmp": [128 * MIB, 16384], "/dev/shm": 64 * MIB},
    "overfill": {path: ["ENOSPC", "ENOSPC"] for path in ("/home/jovyan", "/tmp")},
    "home": ["0o700", True, 100],
    "who": ["jovyan", "jovyan", 100],
    "homes": ["/home/jovyan", "/home/jovyan", "/home/jovyan"],
    "names": "nameserver 127.0.0.1\n",
    "oom score": 700,
    "server's oom score": 500,
    "work": {"fork": 6, "thread": 7, "subprocess": 0, "plot": True},
}  # fmt: skip


async def evaluate(running: Running, code: str) -> str:
    """Let a new kernel of the notebook run this; returns what it printed, also when the kernel did not survive it."""
    async with JupyterClient(running) as jupyter:
        url = f"{jupyter.origin}{running.base_path}"
        token = {"Authorization": f"token {running.token}"}
        async with jupyter.session.post(f"{url}api/kernels", headers=token, json={"name": "python3"}) as reply:
            kernel = (await reply.json())["id"]
        message = {"msg_type": "execute_request", "msg_id": "1", "session": "s", "username": "", "version": "5.3"}
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "stop_on_error": True}
        request = {"header": message, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        printed = ""
        async with jupyter.session.ws_connect(f"{url}api/kernels/{kernel}/channels", headers=token) as socket:
            await socket.send_json(request)
            async with asyncio.timeout(60):
                while True:
                    told = await socket.receive_json()
                    if told["msg_type"] == "status" and told["content"]["execution_state"] in ("restarting", "dead"):
                        return printed
                    if told["msg_type"] == "stream":
                        printed += told["content"]["text"]
                    if told["msg_type"] == "error":
                        pytest.fail("\n".join(told["content"]["traceback"]))
                    if told["msg_type"] == "execute_reply" and told["parent_header"].get("msg_id") == "1":
                        return printed


async def typed(running: Running, line: str, until: str) -> str:
    """Type a line in a new terminal of the notebook; returns all it showed once that holds ``until``."""
    async with JupyterClient(running) as jupyter:
        url = f"{jupyter.origin}{running.base_path}"
        token = {"Authorization": f"token {running.token}"}
        async with jupyter.session.post(f"{url}api/terminals", headers=token) as reply:
            name = (await reply.json())["name"]
        shown = ""
        async with jupyter.session.ws_connect(f"{url}terminals/websocket/{name}", headers=token) as socket:
            await socket.send_json(["stdin", line + "\r"])
            async with asyncio.timeout(30):
                while until not in shown:
                    kind, *text = await socket.receive_json()
                    shown += text[0] if kind == "stdout" else ""
        return shown


@pytest.fixture
async def site(docker: aiodocker.Docker) -> AsyncIterator[DockerSite]:  # noqa: F811
    made = DockerSite(docker)
    yield made
    for backend in made.made:
        await backend.close()
    await made.clean()


async def opened(site: DockerSite, **more: object) -> DockerBackend:
    image = await build("debian")
    made = DockerBackend(spec_of(default_spec().service, "main", image=image, **more))
    site.made.append(made)
    await made.open()
    return made


async def test_all_that_a_kernel_can_see_of_the_default_container(site: DockerSite) -> None:
    backend = await opened(site)
    one, other = await asyncio.gather(backend.start(KEY, backend.edition), backend.start(OTHER, backend.edition))
    printed = await evaluate(one, f"{LOOK}\nimport json; print(json.dumps(look({MASKED!r})))")
    found = json.loads(printed)
    first, second = found.pop("uid"), int(await evaluate(other, "import os; print(os.getuid())"))
    assert found == EXPECTED
    assert first != second
    assert {first, second} < set(range(20_000, 30_000))
    shown = await typed(one, "tty && echo $((6 * 7)) $(cat /proc/self/oom_score_adj)", "42 ")
    assert "/dev/pts/" in shown
    assert "42 700" in shown


async def test_one_user_for_all_as_in_other_images(site: DockerSite) -> None:
    backend = await opened(site, user="1000:100")
    running = await backend.start(KEY, backend.edition)
    code = (
        "import os; print(os.getuid(), os.getgid(), os.access('welcome.ipynb', os.W_OK), os.stat('.').st_mode & 0o7777)"
    )
    assert (await evaluate(running, code)).split() == ["1000", "100", "True", str(0o700)]


GREEDY = """
import subprocess, sys, time
children = []
while not any(child.poll() for child in children):
    if len(children) < 40:
        code = "kept = bytes(b'x' * (20 << 20)); import time; time.sleep(60)"
        children.append(subprocess.Popen([sys.executable, "-ISc", code]))
    time.sleep(0.05)
print({child.poll() for child in children} - {None})
for child in children: child.kill()
"""
"""More than its memory, in processes that are smaller each than the server is."""


async def test_when_memory_is_short_the_visitors_processes_end_and_the_server_stays(site: DockerSite) -> None:
    backend = await opened(site, memory=400 * MIB)
    running = await backend.start(KEY, backend.edition)
    printed = await evaluate(running, GREEDY)
    assert printed in ("{-9}\n", ""), "neither a child nor the kernel was killed"
    async with JupyterClient(running) as jupyter:
        assert await jupyter.answers()
    assert await evaluate(running, "print('again')") == "again\n"
