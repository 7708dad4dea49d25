"""The contenders in front of the same upstream: tmppool, nginx, configurable-http-proxy, aiohttp, and no proxy."""

import contextlib
import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import platformdirs
import psutil

from benchmarks.procs import BenchError, free_port, listening, started
from benchmarks.service import service

CHP = "configurable-http-proxy"
HOW_TO_INSTALL = {
    "nginx": "scripts/packages installs it",
    "chp": "scripts/bench --install-peers installs configurable-http-proxy, which takes npm",
}
_HERE = Path(__file__).parent

_NGINX = """
{user}
daemon off;
worker_processes 1;
pid {here}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    keepalive_requests 100000000;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream notebook {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 0;
        proxy_request_buffering off;
        location / {{
            proxy_pass http://notebook;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 3600s;
            proxy_send_timeout 3600s;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Front:
    """A contender: the port it listens on, and the PID of its working process (None for direct)."""

    name: str
    port: int
    pid: int | None


@dataclass(frozen=True, slots=True)
class Fronts:
    """All started contenders, and the reasons why others are ``missing``; all serve ``base_path``.

    Requests to all of them carry the ``cookie`` that tmppool requires.
    """

    base_path: str
    cookie: str
    fronts: list[Front]
    missing: dict[str, str]


@contextlib.asynccontextmanager
async def in_front_of(
    upstream: str, home: Path, chp: str | None, *, with_aiohttp: bool = False
) -> AsyncIterator[Fronts]:
    """Run ``upstream``, a script in this directory, as a notebook of tmppool, with every contender in front of it.

    Raises BenchError if the upstream does not start.
    """
    if upstream == "upstream_files.py" and find_nginx() is None:
        raise BenchError(f"nginx, which serves the file, is not installed ({HOW_TO_INSTALL['nginx']})")
    async with contextlib.AsyncExitStack() as stack:
        port_file = home / f"{upstream}.port"
        words = [sys.executable, str(_HERE / upstream)]
        script = shlex.join(words).replace("{", "{{").replace("}", "}}")
        command = f"exec {script} {{base_path}} {{port}} {shlex.quote(str(port_file))}"
        ours = await stack.enter_async_context(
            service(home, "process", f"--command={command}", "--pool-size=1", "--warm=1")
        )
        await ours.until(warm=1, within=30)
        (base_path, cookie), port = await ours.spawn(), int(port_file.read_text())
        fronts = [Front("tmppool", ours.port, ours.pid)]
        missing = {}
        peers = [("nginx", _nginx(home, port)), ("chp", _chp(home, port, base_path, chp))]
        if with_aiohttp:
            peers.append(("aiohttp", _aiohttp(home, port)))
        for name, peer in peers:
            try:
                fronts.append(await stack.enter_async_context(peer))
            except NotInstalledError as error:
                missing[name] = str(error)
        fronts.append(Front("direct", port, None))
        yield Fronts(base_path, cookie, fronts, missing)


class NotInstalledError(BenchError):
    """A peer is not installed."""


def find_nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@contextlib.asynccontextmanager
async def _nginx(home: Path, upstream: int) -> AsyncIterator[Front]:
    nginx = find_nginx()
    if nginx is None:
        raise NotInstalledError("not installed")
    port = free_port()
    here = home / f"nginx-{port}"
    here.mkdir()
    config = here / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(_NGINX.format(user=user, here=here, upstream=upstream, port=port))
    log = here / "log"
    async with started([nginx, "-c", str(config), "-e", "stderr", "-p", str(here)], log) as process:
        await listening(process, port, log)
        (worker,) = psutil.Process(process.pid).children()
        yield Front("nginx", port, worker.pid)


@contextlib.asynccontextmanager
async def _aiohttp(home: Path, upstream: int) -> AsyncIterator[Front]:
    port = free_port()
    log = home / f"aiohttp-{port}.log"
    command = [sys.executable, str(_HERE / "peer_aiohttp.py"), str(port), f"http://127.0.0.1:{upstream}"]
    async with started(command, log) as process:
        await listening(process, port, log)
        yield Front("aiohttp", port, process.pid)


@contextlib.asynccontextmanager
async def _chp(home: Path, upstream: int, base_path: str, chp: str | None) -> AsyncIterator[Front]:
    if chp is None:
        raise NotInstalledError("not installed")
    port, api, token = free_port(), free_port(), secrets.token_hex(16)
    log = home / f"chp-{port}.log"
    command = [chp, "--ip=127.0.0.1", f"--port={port}", "--api-ip=127.0.0.1", f"--api-port={api}", "--log-level=error"]
    async with started(command, log, env={"CONFIGPROXY_AUTH_TOKEN": token}) as process:
        await listening(process, api, log)
        await listening(process, port, log)
        url = f"http://127.0.0.1:{api}/api/routes{base_path.rstrip('/')}"
        headers = {"Authorization": f"token {token}"}
        body = {"target": f"http://127.0.0.1:{upstream}"}
        async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as reply:
            if reply.status != 201:
                raise BenchError(f"{CHP} refused the route: {reply.status}")
        yield Front("chp", port, process.pid)


def find_chp(given: str | None, *, may_install: bool) -> str | None:
    """Return the path of configurable-http-proxy: the given one, the one on PATH, or our own copy in the cache."""
    if given is not None:
        if shutil.which(given) is None:
            raise BenchError(f"--chp: {given} cannot be run")
        return shutil.which(given)
    cache = platformdirs.user_cache_path("tmppool-bench")
    own = cache / "node_modules" / ".bin" / CHP
    found = shutil.which(CHP) or shutil.which(own)
    if found is None and may_install and (npm := shutil.which("npm")):
        cache.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(cache), CHP]
        subprocess.run(command, check=False, timeout=300, stdout=sys.stderr)
        found = shutil.which(own)
    return found
