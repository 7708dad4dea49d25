"""Schemathesis against the service in a process of its own: each answer is one that the documents describe."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.fuzz.effort import FACTOR
from tests.proxy.stage import free_ports

pytestmark = [pytest.mark.corpus, pytest.mark.timeout(1000)]

PATIENCE = 400.0  # seconds
TOKEN = "token-of-the-operator"
CONFIG = """
hooks = "{hooks}"

[generation]
deterministic = {deterministic}
max-examples = {examples}

[checks]
# 503: notebooks are being started.
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
# 424: what JupyterLab understands as a notebook that is no more.
positive_data_acceptance.expected-statuses = ["2xx", "3xx", "403", "404", "413", "424", "429", "503"]
negative_data_rejection.expected-statuses = ["400", "403", "404", "405", "413", "424", "429", "503"]
# It wants 401; a missing token is a 403 here, as it was in tmpnb and is in JupyterHub.
missing_required_header.enabled = false

[[operations]]
# The requests here accept anything, and an event stream goes on.
include-path = "/build/{{rest}}"
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", "400", "403", "404", "503"]
"""


@pytest.fixture
def ports() -> tuple[int, int]:
    public, admin = free_ports(2)
    return public, admin


async def test_every_answer_of_both_listeners_is_described(tmp_path: Path, ports: tuple[int, int]) -> None:
    public, admin = ports
    hooks = Path(__file__).with_name("schemathesis_hooks.py")
    deterministic = "true" if FACTOR == 1 else "false"
    config = CONFIG.format(hooks=hooks, deterministic=deterministic, examples=30 * FACTOR)
    (tmp_path / "schemathesis.toml").write_text(config)
    options = {
        "backend": "fake",
        "ip": "127.0.0.1",
        "port": public,
        "admin-port": admin,
        "pool-size": 8,
        "parallel-starts": 50,
        "starts-per-hour": 0,
        "cull-max": 1,  # so that there is one to be had again and again
        "cull-period": 0.2,
        "on-exit": "stop",
        "state-dir": tmp_path / "state",
    }
    log = tmp_path / "log"
    with log.open("wb") as out:
        service = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tmppool",
            *(f"--{name}={value}" for name, value in options.items()),
            stdout=out,
            stderr=out,
            env=os.environ | {"ADMIN_AUTH_TOKEN": TOKEN},
        )
    try:
        for port, header in ((public, "Accept: */*"), (admin, f"Authorization: token {TOKEN}")):
            status, said = await schemathesis(tmp_path, port, header)
            assert status == 0, said
            for phase in ("Coverage", "Fuzzing", "Stateful"):
                assert re.search(f"✅.*{phase}", said), said
        assert service.returncode is None
    finally:
        service.terminate()
        await asyncio.wait_for(service.wait(), PATIENCE)
    assert not re.search(r'"level": "(?:error|critical)"|Traceback', log.read_text()), log.read_text()


async def schemathesis(directory: Path, port: int, header: str) -> tuple[int, str]:
    """Run it; returns its exit status and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        "--no-color",
        f"--config-file={directory / 'schemathesis.toml'}",
        "run",
        f"http://127.0.0.1:{port}/api/openapi.json",
        "--wait-for-schema=20",
        f"--header={header}",
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE * FACTOR)
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode is not None
    return process.returncode, said.decode()
