"""The service may be killed at any moment: no session is lost."""

import asyncio
import contextlib
import json
import sqlite3
import uuid
from pathlib import Path

import pytest

from tests.acceptance.harness import Taken, chromium, output_of, run_cell, running

engine = pytest.param("docker", marks=pytest.mark.engine)
process = pytest.param("process", marks=pytest.mark.process)


class Kernel:
    """A kernel of a notebook, as a program uses it."""

    def __init__(self, taken: Taken) -> None:
        self.url = taken.url
        self.client = taken.client
        self.id = ""

    async def begin(self, name: str = "python3") -> None:
        address = f"{self.url}api/kernels"
        async with self.client() as session, session.post(address, json={"name": name}) as reply:
            self.id = (await reply.json())["id"]

    async def run(self, code: str) -> str:
        """Return what the code prints."""
        message = uuid.uuid4().hex
        request = {
            "header": {"msg_id": message, "msg_type": "execute_request", "session": uuid.uuid4().hex,
                       "username": "", "version": "5.3", "date": ""},
            "parent_header": {}, "metadata": {}, "channel": "shell", "buffers": [],
            "content": {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False},
        }  # fmt: skip
        printed = ""
        address = f"{self.url}api/kernels/{self.id}/channels"
        async with asyncio.timeout(60), self.client() as session, session.ws_connect(address) as socket:
            await socket.send_json(request)
            async for received in socket:
                answer = json.loads(received.data)
                if answer["parent_header"].get("msg_id") != message:
                    continue
                if answer["msg_type"] == "stream":
                    printed += answer["content"]["text"]
                if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                    return printed
        raise AssertionError("the kernel did not answer")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("backend", [process, engine])
async def test_twenty_kills_in_a_row_lose_neither_url_nor_kernel_nor_variable(backend: str, tmp_path: Path) -> None:
    async with running(tmp_path, backend, "--pool-size=2", warm=2) as service:
        kernel = Kernel(await service.spawn())
        await kernel.begin()
        assert await kernel.run("count = 0; print('ready')") == "ready\n"
        for round_ in range(1, 21):
            await service.kill()
            await service.start(warm=0)
            assert await kernel.run("count += 1; print(count)") == f"{round_}\n"
        stats = await service.stats()
        assert stats["assigned"] == 1
        assert stats["warm"] + stats["starting"] == 1


@pytest.mark.browser
@pytest.mark.engine
async def test_the_same_tab_goes_on_by_itself_and_prints_the_variable(tmp_path: Path) -> None:
    async with running(tmp_path, "docker", "--pool-size=2") as service, chromium() as browser:
        page = await (await browser.new_context()).new_page()
        await page.goto(service.url)
        await page.wait_for_url("**/user/**")
        await page.locator(".jp-CodeCell").first.wait_for(timeout=60_000)
        await run_cell(page, code="kept = 41; print('set', kept)")
        await output_of(page, 0, "set 41")
        await service.kill()
        await asyncio.sleep(1)
        await service.start(warm=0)
        await run_cell(page, 1, code="print('kept', kept + 1)")
        assert "kept 42" in await output_of(page, 1, "kept 42")


@pytest.mark.parametrize("how", ["missing", "newer", "garbage"])
@pytest.mark.process
async def test_without_a_usable_ledger_what_runs_is_served_and_never_given_away(how: str, tmp_path: Path) -> None:
    async with running(tmp_path, "process", "--pool-size=2", warm=2) as service:
        taken = await service.spawn()
        await service.kill()
        ledger = tmp_path / service.name / "ledger.sqlite"
        for part in ledger.parent.glob("ledger.sqlite-*"):
            part.unlink()
        if how == "newer":
            _set_version(ledger, 99)
        elif how == "garbage":
            ledger.write_bytes(b"this is no database" * 500)
        else:
            ledger.unlink()
        await service.start(warm=0)
        async with taken.client() as session, session.get(f"{taken.url}api/status") as reply:
            assert reply.status == 200
        # What nobody had may be given away, what somebody had never again.
        assert (await service.until(lambda stats: stats["warm"] == 1))["assigned"] == 1
        assert (await service.spawn()).key != taken.key
        said = [event["event"] for event in service.events if event["event"].startswith("ledger.")]
        assert said == {"missing": [], "newer": ["ledger.open_failed"], "garbage": ["ledger.set_aside"]}[how]
        if how == "newer":
            assert ledger.exists()


def _set_version(path: Path, version: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version={version}")


@pytest.mark.process
async def test_sessions_stay_on_sigterm_and_go_with_on_exit_stop(tmp_path: Path) -> None:
    async with running(tmp_path, "process", "--pool-size=1", "--on-exit=keep") as service:
        taken = await service.spawn()
        await service.stop()
        await service.start(warm=0)
        async with taken.client() as session, session.get(f"{taken.url}api/status") as reply:
            assert reply.status == 200
        await service.stop()
        service.options.append("--on-exit=stop")
        await service.start(warm=0)
        await service.stop()
        assert not list((tmp_path / service.name / "notebooks").glob("*/*"))


@pytest.mark.engine
async def test_after_a_restart_with_another_limit_a_visitor_gets_a_notebook_with_it_and_sessions_go_on(
    tmp_path: Path,
) -> None:
    async def memory(taken: Taken) -> str:
        kernel = Kernel(taken)
        await kernel.begin()
        return await kernel.run(
            "from glob import glob\n"
            "paths = glob('/sys/fs/cgroup/memory.max') + glob('/sys/fs/cgroup/memory/memory.limit_in_bytes')\n"
            "print(open(paths[0]).read().strip())"
        )

    async with running(tmp_path, "docker", "--pool-size=3", "--warm=1", "--mem-limit=512m") as service:
        before = await service.spawn()
        await service.until(lambda stats: stats["warm"] == 1)
        await service.stop()
        service.options += ["--mem-limit=300m"]
        await service.start(warm=1)
        async with asyncio.timeout(60):  # until the outdated one has left its place to another
            while "drained" not in [line.get("reason") for line in service.events]:
                await asyncio.sleep(0.1)
        assert await memory(await service.spawn()) == f"{300 << 20}\n"
        assert await memory(before) == f"{512 << 20}\n"
        told = {line["event"]: line["count"] for line in service.events if line["event"].endswith(".outdated")}
        assert told == {"warm.outdated": 1, "sessions.outdated": 1}


@pytest.mark.engine
async def test_two_services_on_one_engine_leave_each_other_and_the_operators_containers_alone(tmp_path: Path) -> None:
    async def docker(*words: str) -> str:
        child = await asyncio.create_subprocess_exec("docker", *words, stdout=asyncio.subprocess.PIPE)
        return (await child.communicate())[0].decode().strip()

    image = "tmppool/debian:latest"
    own = await docker("run", "-d", "--network=none", "--label=tmppool.pool=mine", image, "sleep", "600")
    try:
        async with running(tmp_path, "docker", "--pool-size=2", warm=2, name="one") as one:
            first = await one.spawn()
            async with running(tmp_path, "docker", "--pool-size=2", warm=2, name="two") as two:
                second = await two.spawn()
                async with two.operator() as session:
                    await session.delete(f"{two.admin_url}/api/pool")
                await _answers(first, 200)
                await two.kill()
                await two.start(warm=0)
                await _answers(second, 200)
                await _answers(Taken(first.url.replace(str(one.port), str(two.port)), first.token), 424)
            await _answers(first, 200)
            assert len(await docker("ps", "-q", "--filter", f"label=tmppool.service={one.name}")) > 0
        assert await docker("inspect", "-f", "{{.State.Running}}", own) == "true"
        for service in (one, two):
            assert await docker("ps", "-aq", "--filter", f"label=tmppool.service={service.name}") == ""
    finally:
        await docker("rm", "-f", own)


async def _answers(taken: Taken, status: int) -> None:
    async with taken.client() as session, session.get(f"{taken.url}api/status") as reply:
        assert reply.status == status
