"""Where the engine is looked for: the same order and files as the ``docker`` command's."""

import asyncio
import hashlib
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.backends.test_engine import SmallEngine
from tests.proxy.stage import free_ports
from tmppool.backends import engine, engine_address
from tmppool.backends.engine_address import EngineAddress
from tmppool.errors import BackendError

ROOT = Path(__file__).parents[2]
ENGINE = "/var/run/docker.sock"


def write_context(home: Path, name: str, meta: object, *, is_current: bool = True) -> Path:
    """Write a context as ``docker context create`` does; returns the folder of its certificates."""
    folder = hashlib.sha256(name.encode()).hexdigest()
    path = home / ".docker" / "contexts" / "meta" / folder / "meta.json"
    path.parent.mkdir(parents=True)
    path.write_text(meta if isinstance(meta, str) else json.dumps(meta))
    if is_current:
        (home / ".docker" / "config.json").write_text(json.dumps({"currentContext": name}))
    return home / ".docker" / "contexts" / "tls" / folder / "docker"


def at(url: str, **more: object) -> dict[str, object]:
    return {"Name": "desk", "Endpoints": {"docker": {"Host": url, **more}}}


def test_docker_host_comes_first(tmp_path: Path) -> None:
    write_context(tmp_path, "desk", at("tcp://desk:2375"))
    found = engine_address.find({"HOME": str(tmp_path), "DOCKER_HOST": "tcp://here:1", "DOCKER_CONTEXT": "desk"})
    assert (found, str(found), found.is_local) == (EngineAddress("tcp://here:1"), "tcp://here:1", False)


@pytest.mark.parametrize("variable", ["HOME", "DOCKER_CONFIG"])
def test_the_current_context_comes_next(tmp_path: Path, variable: str) -> None:
    write_context(tmp_path, "desk", at("unix:///x/docker.sock"))
    found = engine_address.find({variable: str(tmp_path / ".docker" if variable == "DOCKER_CONFIG" else tmp_path)})
    assert (found.url, found.context, found.is_local) == ("unix:///x/docker.sock", "desk", True)
    assert str(found) == "unix:///x/docker.sock (Docker context 'desk')"


def test_a_context_by_name_comes_before_the_current_one(tmp_path: Path) -> None:
    write_context(tmp_path, "desk", at("tcp://desk:2375"))
    write_context(tmp_path, "attic", at("tcp://attic:2375"), is_current=False)
    assert engine_address.find({"HOME": str(tmp_path), "DOCKER_CONTEXT": "attic"}).url == "tcp://attic:2375"


@pytest.mark.parametrize("config", ['{"currentContext": "default"}', "{}", None])
def test_else_it_is_a_local_socket(tmp_path: Path, config: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / ".docker"
    (home / "run").mkdir(parents=True)
    if config is not None:
        (home / "config.json").write_text(config)
    monkeypatch.setattr(engine_address, "_SOCKETS", (str(tmp_path / "none"), str(tmp_path / "some")))
    with pytest.raises(BackendError, match=r"^no Docker Engine was found: there is no DOCKER_HOST, "):
        engine_address.find({"HOME": str(tmp_path)})
    with socket.socket(socket.AF_UNIX) as user, socket.socket(socket.AF_UNIX) as system:
        user.bind(str(home / "run" / "docker.sock"))
        assert engine_address.find({"HOME": str(tmp_path)}).url == f"unix://{home}/run/docker.sock"
        system.bind(str(tmp_path / "some"))
        assert engine_address.find({"HOME": str(tmp_path)}).url == f"unix://{tmp_path}/some"


@pytest.mark.parametrize("meta", ["", "[]", "{}", '{"Endpoints": {"docker": {}}}', '{"Endpoints": 7}', "oops"])
def test_a_context_that_cannot_be_read_is_named(tmp_path: Path, meta: str) -> None:
    write_context(tmp_path, "desk", meta)
    with pytest.raises(BackendError, match=r"^the Docker context 'desk' could not be read: ") as caught:
        engine_address.find({"HOME": str(tmp_path)})
    assert "\n" not in str(caught.value)


def test_a_context_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"^there is no Docker context 'desk': `docker context ls` lists them$"):
        engine_address.find({"HOME": str(tmp_path), "DOCKER_CONTEXT": "desk"})


@pytest.mark.parametrize("config", ["oops", "[]"])
def test_a_configuration_that_cannot_be_read_is_told(tmp_path: Path, config: str) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(config)
    with pytest.raises(BackendError, match=r"^the Docker context could not be told: .*config\.json: "):
        engine_address.find({"HOME": str(tmp_path)})


@pytest.mark.parametrize("is_unchecked", [False, True])
def test_a_contexts_certificates_are_used(tmp_path: Path, *, is_unchecked: bool) -> None:
    folder = write_context(tmp_path, "desk", at("tcp://desk:2376", SkipTLSVerify=is_unchecked))
    folder.mkdir(parents=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=desk", "-days", "1",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "ca.pem").write_bytes((folder / "cert.pem").read_bytes())
    found = engine_address.find({"HOME": str(tmp_path)})
    assert found.url == "https://desk:2376"
    assert found.tls is not None
    assert found.tls.verify_mode is (ssl.CERT_NONE if is_unchecked else ssl.CERT_REQUIRED)
    (folder / "ca.pem").write_text("no certificate")
    with pytest.raises(BackendError, match=r"^the Docker context 'desk' could not be read: "):
        engine_address.find({"HOME": str(tmp_path)})


# All that looks for an engine finds the same one


@pytest.fixture
async def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_context(tmp_path, "desk", at(f"unix://{tmp_path}/nobody.sock"))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


async def test_a_context_that_leads_nowhere_is_named_in_one_sentence(nowhere: None, tmp_path: Path) -> None:
    said = f"the Docker Engine at unix://{tmp_path}/nobody.sock (Docker context 'desk') did not answer"
    assert await engine.failure() == said
    status, words = await command("build-image", "debian", home=tmp_path)
    assert (status, words) == (1, f"tmppool: {said}; start it or set DOCKER_HOST\n")


async def test_the_client_goes_where_the_context_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = SmallEngine(tmp_path / "engine.sock")
    await small.open()
    write_context(tmp_path, "desk", at(small.url))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert await engine.answers()
    assert [path for _, path, _ in small.asked] == ["/version", "/v1.41/version"]
    await small.close()


class Proxy:
    """A socket that leads to the real engine and counts who came."""

    def __init__(self, path: Path) -> None:
        self.path, self.connections = path, 0

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there_reader, there_writer = await asyncio.open_unix_connection(ENGINE)
        await asyncio.gather(self._pass(reader, there_writer), self._pass(there_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    made = Proxy(tmp_path / "proxy.sock")
    await made.open()
    write_context(tmp_path, "desk", at(f"unix://{made.path}"))
    yield made
    await made.close()


async def command(*words: str, home: Path) -> tuple[int, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tmppool", *words, cwd=ROOT, env={**env, "HOME": str(home)},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        _, said = await child.communicate()
    return child.returncode or 0, said.decode()


@pytest.mark.engine
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("build-image", "debian", "--base=nobody/has:this"), 1, "the base image 'nobody/has:this' is not on this"),
        (("serve", "--backend=docker", "--image=nobody/has:this"), 2, "image nobody/has:this is not on the engine"),
        (("audit", "--image=nobody/has:this"), 2, "image nobody/has:this is not on the engine"),
    ],
    ids=["build-image", "serve", "audit"],
)
async def test_every_command_goes_to_the_engine_of_the_context(
    proxy: Proxy, tmp_path: Path, words: tuple[str, ...], status: int, said: str
) -> None:
    ports = (
        [*(f"--{name}={port}" for name, port in zip(("port", "admin-port"), free_ports(2), strict=True))]
        if words[0] == "serve"
        else []
    )
    found, sentence = await command(*words, *ports, home=tmp_path)
    assert (found, said in sentence) == (status, True), sentence
    assert proxy.connections > 0
