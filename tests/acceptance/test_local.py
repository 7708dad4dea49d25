"""Without an engine: for this machine's own user alone, never instead of containers for others, and not for ever."""

import asyncio
import os
import re
import signal
import sys
import time
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.acceptance.harness import ROOT, Service, Taken, chromium, output_of, run_cell, running
from tests.acceptance.test_mistakes import RELAY, one_sentence, start
from tests.acceptance.test_restart import Kernel
from tests.conftest import unavailable
from tests.notebooks import notebook_of
from tests.proxy.stage import free_ports
from tmppool.ledger import Ledger
from tmppool.notebook import Reason, State, Transition

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]

NOWHERE = {"DOCKER_HOST": "unix:///nowhere"}
WITNESS = f"--command={sys.executable} {Path(__file__).with_name('witness.py')} {{base_path}} {{port}}"
FOR_OTHERS = [
    "--trusted-proxies=127.0.0.1",
    "--public-url=https://nb.example",
    "--domain-per-notebook=nb.example",
    "--domain-per-notebook=nb.localhost",
    "--ip=0.0.0.0",
]
ASLEEP = str(20_000_000 + os.getpid())  # seconds that nobody else sleeps
SESSIONS = "2 sessions in containers according to the ledger"


async def until_said(service: Service, event: str, within: float = 30) -> dict[str, object]:
    async with asyncio.timeout(within):
        while True:
            for line in service.events if service.log_path.exists() else ():
                if line["event"] == event:
                    return line
            assert service.process is not None
            assert service.process.returncode is None, service.log
            await asyncio.sleep(0.05)


async def is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def leave_sessions(path: Path) -> None:
    """Write a ledger as a service does that was killed while visitors had its containers."""
    ledger = await Ledger.open(path)
    for number in range(2):
        notebook = notebook_of(f"{number}" * 22, "tmppool", 0.0)
        ledger.hear(Transition(notebook, State.WARM, State.ASSIGNED, Reason.CLICK, 0.0, 0.0))
    await ledger.close()


def processes_of(service: Service) -> list[psutil.Process]:
    """All that run in a notebook's home, kernels included."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME", "").startswith(f"{service.home / service.name}/"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def asleep() -> list[psutil.Process]:
    """What a notebook's code has begun in ways that leave nothing to tell whose it is."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline() == ["sleep", ASLEEP]:
                found.append(process)
        except psutil.Error:
            continue
    return found


def homes_of(service: Service) -> list[Path]:
    return list((service.home / service.name / "notebooks").glob("*/*"))


# Where others come


@pytest.mark.parametrize("why", [*FOR_OTHERS, SESSIONS])
async def test_where_others_come_nothing_is_served_while_the_engine_is_away(why: str, tmp_path: Path) -> None:
    options = () if why is SESSIONS else (why,)
    service = Service(tmp_path, "auto", *options, "--allow-root", env=NOWHERE)
    if why is SESSIONS:
        await leave_sessions(tmp_path / service.name / "ledger.sqlite")
    await service.launch()
    try:
        said = await until_said(service, "engine.awaited")
        assert (said["level"], said["why"]) == ("warning", why)
        assert "unix:///nowhere did not answer" in str(said["error"])
        await asyncio.sleep(1)
        for port in (service.port, service.admin_port):
            assert not await is_listening(port)
        assert not (tmp_path / service.name / "notebooks").exists()
    finally:
        began = time.monotonic()
        await service.stop()
    assert service.process is not None
    assert (service.process.returncode, time.monotonic() - began < 3) == (0, True)
    assert service.printed is None


@pytest.mark.engine
async def test_an_engine_that_comes_late_serves_containers_and_nothing_listens_before(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    env = {"DOCKER_HOST": f"tcp://127.0.0.1:{port}"}
    service = Service(tmp_path, "auto", "--pool-size=1", "--public-url=https://nb.example", env=env)
    await service.launch()
    relay = None
    try:
        await until_said(service, "engine.awaited")
        assert not await is_listening(service.port)
        relay = await asyncio.create_subprocess_exec(sys.executable, "-c", RELAY, str(port))
        async with asyncio.timeout(60):
            stats = await service.until(lambda stats: stats["warm"] == 1)
        assert stats["container_image"] == "tmppool/debian:latest"
        assert [line["event"] for line in service.events][:2] == ["engine.awaited", "engine.answered"]
        taken = await service.spawn()
        async with taken.client() as session, session.get(f"{taken.url}api/status") as reply:
            assert reply.status == 200
    finally:
        await service.remove()
        if relay is not None:
            relay.terminate()
            await relay.wait()


@pytest.mark.parametrize("option", FOR_OTHERS)
async def test_who_asks_for_processes_for_others_is_refused_with_one_sentence(option: str, tmp_path: Path) -> None:
    status, said = await start("--backend=process", "--allow-root", option, f"--state-dir={tmp_path}")
    name, _, value = option.partition("=")
    assert status == 2
    assert one_sentence(said).startswith(f"tmppool: {name}: {value!r} is not allowed: notebooks here are processes")


@pytest.mark.parametrize("backend", ["auto", "process"])
async def test_root_is_refused_with_one_sentence_unless_it_says_so(backend: str, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        unavailable("process", "what root is told takes root")
    ports = [f"--{name}={port}" for name, port in zip(("port", "admin-port"), free_ports(2), strict=True)]
    status, said = await start(f"--backend={backend}", *ports, f"--state-dir={tmp_path}", env=NOWHERE)
    assert status == 2
    sentence = one_sentence(said)
    for words in ("as root", "without isolation", "start a Docker Engine", "as another user", "--allow-root"):
        assert words in sentence
    assert not (tmp_path / "notebooks").exists()


# The secret and the Host


@pytest.mark.browser
async def test_the_first_command_ends_in_a_running_notebook_by_opening_what_it_printed(tmp_path: Path) -> None:
    service = Service(tmp_path, "auto", "--pool-size=1", "--allow-root", env=NOWHERE)
    try:
        await service.start()
        assert re.fullmatch(rf"http://127\.0\.0\.1:{service.port}/\?token=[\w-]{{32}}", service.link)
        async with chromium() as browser:
            stranger = await (await browser.new_context()).new_page()
            for width in (1280, 390):
                await stranger.set_viewport_size({"width": width, "height": 800})
                refused = await stranger.goto(service.url)
                assert refused is not None
                assert refused.status == 403
                assert "open the URL that it printed" in await stranger.inner_text("main")
                assert await stranger.get_by_role("link").count() == 0
                assert await stranger.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page = await (await browser.new_context()).new_page()
            await page.goto(service.link)
            await page.wait_for_url("**/user/**")
            await run_cell(page, code="print(6 * 7, 'is the answer')")
            assert "42 is the answer" in await output_of(page, 0, "answer")
            assert "tmppool" not in await page.evaluate("document.cookie")
        assert service.printed is not None
        assert service.log.count(service.printed[2]) == 1  # where it was printed
    finally:
        await service.remove()


async def test_a_foreign_name_that_leads_here_is_shown_nothing(tmp_path: Path) -> None:
    """DNS rebinding: a foreign page is one of ours to the browser, which sends it what it has for that name."""
    async with running(tmp_path, "process", "--pool-size=1", WITNESS) as service:
        taken = await service.spawn()
        evil = {"Host": f"rebound.example:{service.port}"}
        async with aiohttp.ClientSession(headers={**service.headers, **evil}) as session:
            for address in (service.link, f"{service.url}/api/stats", taken.at("api"), f"{service.url}/health"):
                async with session.get(address, allow_redirects=False) as reply:
                    assert (reply.status, "Set-Cookie" in reply.headers) == (421, False)
            async with session.post(f"{service.url}/api/spawn") as reply:
                assert reply.status == 421
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(taken.at("api/kernels/1/channels"))
            assert refused.value.status == 421
        async with taken.client() as session, session.get(f"{taken.url}seen") as reply:
            assert [line for line in await reply.json() if "seen" not in line and not line.endswith("/api")] == []


# The end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_no_process_of_a_notebook_outlives_the_service(number: signal.Signals, tmp_path: Path) -> None:
    service = Service(tmp_path, "process", "--pool-size=2")
    try:
        await service.start(warm=2)
        for _ in range(2):
            kernel = Kernel(await service.spawn())
            await kernel.begin()
            left = (
                "import subprocess\n"
                f"sleep = ['sleep', '{ASLEEP}']\n"
                "subprocess.Popen(sleep, start_new_session=True)\n"
                "subprocess.Popen(sleep, env={})\n"
                "subprocess.Popen(sleep, env={}, start_new_session=True)\n"
                f"subprocess.run(['/bin/sh', '-c', 'env -i nohup setsid sleep {ASLEEP} >/dev/null 2>&1 &'])\n"
                "print('begun')"
            )
            assert await kernel.run(left) == "begun\n"
        assert len(processes_of(service)) >= 6
        assert len(asleep()) == 8
        assert service.process is not None
        service.process.send_signal(number)
        assert await asyncio.wait_for(service.process.wait(), 40) == 0
        assert processes_of(service) == []
        assert asleep() == []
        assert homes_of(service) == []
    finally:
        await service.remove()


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6])
async def test_a_signal_while_notebooks_are_starting_leaves_none(delay: float, tmp_path: Path) -> None:
    service = Service(tmp_path, "process", "--pool-size=4", "--parallel-starts=4")
    await service.launch()
    assert service.process is not None
    try:
        async with asyncio.timeout(30):
            while not homes_of(service):
                await asyncio.sleep(0.01)
        await asyncio.sleep(delay)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):  # an impatient one too
            service.process.send_signal(number)
            await asyncio.sleep(0.02)
        assert await asyncio.wait_for(service.process.wait(), 40) == 0
        assert processes_of(service) == []
        assert homes_of(service) == []
    finally:
        await service.remove()


async def test_who_ignores_the_end_of_the_terminal_goes_on(tmp_path: Path) -> None:
    service = Service(tmp_path, "process", "--pool-size=1", WITNESS)
    with service.log_path.open("ab") as log:
        service.process = await asyncio.create_subprocess_exec(
            "nohup", sys.executable, "-m", "tmppool", *service.options, stdout=log, stderr=log, cwd=ROOT
        )
    try:
        async with asyncio.timeout(60):
            await service.until(lambda stats: stats["warm"] == 1)
        service.process.send_signal(signal.SIGHUP)
        await asyncio.sleep(1)
        assert (await service.stats())["warm"] == 1
    finally:
        await service.remove()


@pytest.mark.engine
async def test_where_an_engine_answers_again_processes_that_were_left_end(tmp_path: Path) -> None:
    service = Service(tmp_path, "process", "--pool-size=1", WITNESS)
    await service.start()
    taken = await service.spawn()
    await service.kill()
    assert len(processes_of(service)) >= 1
    service.options = [option for option in service.options if not option.startswith(("--backend", "--command"))]
    service.options += ["--image=tmppool/debian:latest"]
    try:
        await service.start()
        assert processes_of(service) == []
        assert homes_of(service) == []
        (line,) = [line for line in service.events if line["event"] == "processes.stopped"]
        assert (line["level"], line["count"]) == ("warning", 1)
        async with Taken(taken.url, taken.token).client() as session, session.get(f"{taken.url}api") as reply:
            assert reply.status == 424
    finally:
        await service.remove()
