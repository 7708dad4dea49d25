"""Bad input and bad days: one sentence each, and what runs keeps being served."""

import asyncio
import json
import os
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.harness import IMAGE, ROOT, Service, free_port, running

pytestmark = pytest.mark.process

LINE = (
    'start-notebook.sh "--NotebookApp.base_url={base_path} --ip=0.0.0.0 --port={port}'
    ' --NotebookApp.token=\\"\\" --NotebookApp.trust_xheaders=True"'
)


async def start(
    *options: str, env: dict[str, str] | None = None, how: tuple[str, str] = ("-m", "tmppool")
) -> tuple[int, str]:
    """Run the service until it ends by itself; returns the exit status and what it said."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, *how, *options, cwd=ROOT, env={**os.environ, **(env or {})},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(100):
        _, said = await child.communicate()
    return child.returncode or 0, said.decode()


def one_sentence(said: str) -> str:
    lines = [line for line in said.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    return lines[0]


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("--colour=red", "--colour is not an option"),
        ("--mem-limt=1g", "did you mean --mem-limit?"),
        ("--mem-limit=1x", "--mem-limit: '1x' is not allowed: a size is a whole number followed by b, k, m or g"),
        ("--command=jupyter lab", "it must contain {base_path}"),
        ("--command={base_path} {pot}", "placeholders are {base_path}, {prefix}, {port}, {ip}, {token}, not {pot}"),
        ("--pool-size=many", "--pool-size: 'many' is not allowed"),
        ("--pool-size=0", "--pool-size: '0' is not allowed"),
        ("--network=host", "--network: 'host' is not allowed"),
        ("--trusted-proxies=everyone", "--trusted-proxies"),
        ("--public-url=example.org", "--public-url: 'example.org' is not allowed"),
        ("--redirect-uri=lab", "--redirect-uri: 'lab' is not allowed"),
        ("--redirect-uri=/lab/tree/100%.ipynb", "--redirect-uri: '/lab/tree/100%.ipynb' is not allowed"),
        ("--config=nowhere.toml", "--config: nowhere.toml cannot be read"),
        ("--admin-ip=0.0.0.0", "set ADMIN_AUTH_TOKEN"),
        ("serve-it", "is not a command"),
    ],
)
async def test_a_bad_option_ends_the_start_with_one_sentence(option: str, wanted: str) -> None:
    status, said = await start(option)
    assert status == 2
    assert wanted in one_sentence(said)


async def test_a_port_in_use_is_said_before_anything_is_touched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ("--backend=fake", "--ip=127.0.0.1", f"--port={port}", f"--admin-port={free_port()}")
        status, said = await start(*options, f"--state-dir={tmp_path}")
    assert status == 2
    assert f"--port: {port} on 127.0.0.1 cannot be bound" in one_sentence(said)


async def test_the_process_backend_refuses_a_public_address(tmp_path: Path) -> None:
    status, said = await start("--backend=process", "--ip=0.0.0.0", f"--state-dir={tmp_path}")
    assert status == 2
    assert "processes without isolation" in one_sentence(said)


async def test_a_second_service_of_the_same_name_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, "fake", "--pool-size=1") as service:
        options = [option for option in service.options if "port" not in option]
        status, said = await start(*options, f"--port={free_port()}", f"--admin-port={free_port()}")
    assert status == 2
    assert "already runs" in one_sentence(said)


async def test_an_unusable_state_directory_is_said_and_visitors_are_served(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    service = Service(tmp_path, "fake", "--pool-size=1")
    service.options = [option for option in service.options if "state-dir" not in option]
    service.options.append(f"--state-dir={tmp_path / 'file' / 'below'}")
    try:
        await service.start()
        taken = await service.spawn()
        async with taken.client() as session, session.get(f"{taken.url}api") as reply:
            assert reply.status == 200
        assert [event["event"] for event in service.events if event["level"] == "error"] == ["ledger.open_failed"]
    finally:
        await service.stop()


IMPATIENT = """
import sys
from tmppool import backend_choice
from tmppool.__main__ import main
backend_choice.PATIENCE, backend_choice._SAY = 3.0, 1.0
sys.exit(main())
"""


async def test_no_engine_at_docker_host_is_waited_for_and_then_one_sentence(tmp_path: Path) -> None:
    where, began = f"tcp://127.0.0.1:{free_port()}", time.monotonic()
    env = {"DOCKER_HOST": where}
    options = ("--backend=docker", "--image=x", f"--state-dir={tmp_path}")
    status, said = await start(*options, env=env, how=("-c", IMPATIENT))
    assert status == os.EX_UNAVAILABLE
    assert time.monotonic() - began >= 3
    wanted = f"no Docker Engine answered within 3 s: the Docker Engine at {where} did not answer; start it"
    assert one_sentence(said).startswith(f"tmppool: {wanted}")
    waits = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {(line["event"], line["why"]) for line in waits} == {("engine.awaited", "--backend=docker")}
    assert 2 <= len(waits) <= 4


ILL = """
import sys
from tmppool.__main__ import main
from tmppool.backends.fake import FakeBackend
from tmppool.errors import BackendError
async def fail(self, known=()):
    raise BackendError("the engine did not list containers within 30 s")
FakeBackend.list = fail
sys.exit(main())
"""


async def test_a_backend_that_fails_during_the_start_is_not_the_callers_mistake(tmp_path: Path) -> None:
    ports = (f"--port={free_port()}", f"--admin-port={free_port()}")
    status, said = await start("--backend=fake", *ports, f"--state-dir={tmp_path}", how=("-c", ILL))
    assert status == os.EX_UNAVAILABLE
    assert one_sentence(said) == "tmppool: the engine did not list containers within 30 s"


@pytest.mark.engine
async def test_a_missing_image_says_how_to_bring_it(tmp_path: Path) -> None:
    options = (f"--port={free_port()}", f"--admin-port={free_port()}", f"--state-dir={tmp_path}")
    status, said = await start("--backend=docker", "--image=nobody/nothing:1", *options)
    assert status == 2
    sentence = one_sentence(said)
    assert "nobody/nothing:1 is not on the engine" in sentence
    assert "docker pull nobody/nothing:1" in sentence


@pytest.mark.engine
async def test_an_image_whose_command_exits_shows_its_words_and_causes_no_storm(tmp_path: Path) -> None:
    command = "--command=echo cannot go on with {base_path}; exit 3"
    service = Service(tmp_path, "docker", f"--image={IMAGE}", command, "--pool-size=4", "--parallel-starts=1")
    try:
        await service.start(warm=0)
        await asyncio.sleep(8)
        failed = [event for event in service.events if event["event"] == "start.failed"]
        assert 1 <= len(failed) <= 5
        assert "exited with code 3" in failed[0]["error"]
        assert "cannot go on with /user/***/" in " ".join(failed[0]["log_tail"])
        waits = [event["next_try_in"] for event in failed]
        assert waits == sorted(waits)
        for address, is_said in ((service.url, False), (service.admin_url, True)):
            async with service.operator() as session, session.get(f"{address}/health") as reply:
                assert reply.status == 503
                assert ("exited with code 3" in await reply.text()) is is_said
    finally:
        await service.remove()


@pytest.mark.engine
async def test_the_production_line_of_tmpnb_days_starts_unchanged(tmp_path: Path) -> None:
    options = ("--pool-size=30", "--warm=2", "--cpu-quota=50000", "--mem-limit=1g", f"--command={LINE}")
    async with running(tmp_path, "docker", *options) as service:
        taken = await service.spawn()
        async with taken.client() as session:
            async with session.get(f"{taken.url}tree") as reply:
                assert reply.status == 200
            async with session.get(f"{service.url}/api/stats") as reply:
                assert (await reply.json())["capacity"] == 30


@pytest.mark.engine
async def test_docker_host_over_tcp_is_honoured(tmp_path: Path) -> None:
    port = free_port()
    relay = await asyncio.create_subprocess_exec(sys.executable, "-c", RELAY, str(port))
    try:
        async with running(
            tmp_path, "docker", "--pool-size=1", env={"DOCKER_HOST": f"tcp://127.0.0.1:{port}"}
        ) as service:
            taken = await service.spawn()
            async with taken.client() as session, session.get(f"{taken.url}api/status") as reply:
                assert reply.status == 200
    finally:
        relay.terminate()
        await relay.wait()


@pytest.mark.engine
async def test_while_the_engine_is_away_sessions_are_served_and_the_health_says_so(tmp_path: Path) -> None:
    port = free_port()
    relay = await asyncio.create_subprocess_exec(sys.executable, "-c", RELAY, str(port))
    env = {"DOCKER_HOST": f"tcp://127.0.0.1:{port}"}
    async with running(tmp_path, "docker", "--pool-size=1", env=env) as service:
        taken = await service.spawn()
        relay.terminate()
        await relay.wait()
        async with taken.client() as session:
            async with asyncio.timeout(20):  # a look at what runs that is due anyway comes every 30
                while True:
                    async with session.get(f"{service.url}/health") as reply:
                        if reply.status == 503:
                            break
                    await asyncio.sleep(0.2)
            async with session.get(f"{taken.url}api/status") as reply:
                assert reply.status == 200
            relay = await asyncio.create_subprocess_exec(sys.executable, "-c", RELAY, str(port))
            async with asyncio.timeout(60):
                while True:
                    async with session.get(f"{service.url}/health") as reply:
                        if reply.status == 200:
                            break
                    await asyncio.sleep(0.2)
            async with session.get(f"{taken.url}api/status") as reply:
                assert reply.status == 200
    relay.terminate()
    await relay.wait()


RELAY = """
import asyncio, sys

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def serve(reader, writer):
    there = await asyncio.open_unix_connection("/var/run/docker.sock")
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
"""
