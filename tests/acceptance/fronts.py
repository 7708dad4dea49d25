"""Real proxies in front of the service, configured as their own documentation and other people's guides do it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.proxy.stage import free_ports

NAME = "nb.example"
"""The host by which the visitors come; nobody has it (RFC 2606)."""

_UPGRADE = (
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;"
)
_FOR = "proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
_PROTO = "proxy_set_header X-Forwarded-Proto $scheme;"


@dataclass(frozen=True)
class Front:
    """One proxy. ``rules`` are its own configuration; ``has_tls``: it terminates TLS.

    ``keeps_host``: what it sends as Host is enough for the service to know its own pages, whomever it trusts.
    ``host`` is what a browser sends as Host, if it is not the name and the port that the proxy listens on.
    """

    id: str
    program: str
    rules: str
    has_tls: bool = True
    keeps_host: bool = True
    host: str = ""


FRONTS = [
    Front("nginx-http-host", "nginx", f"{_UPGRADE} proxy_set_header Host $http_host;", has_tls=False),
    Front("nginx-host-and-server-port", "nginx", f"{_UPGRADE} {_FOR} proxy_set_header Host $host:$server_port;", has_tls=False),
    Front("nginx-silent-tls", "nginx", f"{_UPGRADE} proxy_set_header Host $http_host;"),
    Front("nginx-told-tls", "nginx", f"{_UPGRADE} {_FOR} {_PROTO} proxy_set_header Host $http_host;"),
    Front("nginx-default-port-in-host", "nginx", f"{_UPGRADE} {_FOR} {_PROTO} proxy_set_header Host $host:443;", host=NAME),
    Front("nginx-inner-port-in-host", "nginx", f"{_UPGRADE} {_FOR} proxy_set_header Host $host:80;", host=NAME),
    Front("nginx-host", "nginx", f"{_UPGRADE} {_FOR} {_PROTO} proxy_set_header Host $host;", host=NAME),
    Front("nginx-host-and-its-dot", "nginx", f"{_UPGRADE} {_FOR} {_PROTO} proxy_set_header Host $host;", host=f"{NAME}."),
    Front(
        "nginx-port-apart", "nginx", f"{_UPGRADE} {_FOR} {_PROTO} proxy_set_header Host $host; proxy_set_header X-Forwarded-Port $server_port;",
        keeps_host=False,
    ),
    Front("nginx-forwarded-host", "nginx", f"{_UPGRADE} {_FOR} {_PROTO} proxy_set_header X-Forwarded-Host $http_host;", keeps_host=False),
    Front(
        "nginx-two-in-a-row", "nginx-behind-nginx",
        f"{_UPGRADE} {_FOR} proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;",
        keeps_host=False,
    ),
    Front("nginx-forwarded", "nginx", f"{_UPGRADE} proxy_set_header Forwarded 'for=$remote_addr;proto=$scheme;host=\"$http_host\"';", keeps_host=False),
    Front("haproxy-plain", "haproxy", "option forwardfor", has_tls=False),
    Front("haproxy-tls", "haproxy", "option forwardfor\n  http-request set-header X-Forwarded-Proto https if { ssl_fc }"),
    Front(
        "haproxy-forwarded", "haproxy",
        'http-request set-header Forwarded "for=%[src];proto=https;host=\\"%[req.hdr(host)]\\""\n  http-request set-header Host internal',
        keeps_host=False,
    ),
    Front(
        "haproxy-websocket-scheme", "haproxy",
        "option forwardfor\n  http-request set-header X-Forwarded-Proto https\n"
        "  http-request set-header X-Forwarded-Proto wss if { hdr(Upgrade) -i websocket }",
    ),
    Front("caddy", "caddy", "reverse_proxy 127.0.0.1:{service}"),
    Front("caddy-plain", "caddy", "reverse_proxy 127.0.0.1:{service}", has_tls=False),
    Front("caddy-upstream-host", "caddy", "reverse_proxy 127.0.0.1:{service} {{\n header_up Host {{upstream_hostport}}\n }}", keeps_host=False),
]  # fmt: skip

_NGINX = """
user root; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  ssl_certificate {folder}/both.pem; ssl_certificate_key {folder}/both.pem;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
  {servers}
}}
"""
_HAPROXY = """
global
  maxconn 256
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
{servers}
"""
_CADDY = """
{{
  admin off
  auto_https disable_redirects
  storage file_system {folder}/caddy
}}
{servers}
"""


@dataclass(frozen=True)
class Place:
    """Where a front is: ``origin`` is that of its pages, ``url`` leads there from this machine."""

    front: Front
    port: int

    @property
    def scheme(self) -> str:
        return "https" if self.front.has_tls else "http"

    @property
    def host(self) -> str:
        return self.front.host or f"{NAME}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.host}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{NAME}:{self.port}"


@contextlib.asynccontextmanager
async def opened(folder: Path, service: int, fronts: list[Front] | None = None) -> AsyncIterator[list[Place]]:
    """Start the proxies in front of the service that listens on that port."""
    folder.mkdir()
    await make_certificate(folder)
    wanted = FRONTS if fronts is None else fronts
    places = [Place(front, port) for front, port in zip(wanted, free_ports(len(wanted)), strict=True)]
    commands = commands_in(folder)
    (folder / "nginx").write_text(
        _NGINX.format(folder=folder, servers="\n".join(_nginx(each, service) for each in places))
    )
    (folder / "haproxy").write_text(
        _HAPROXY.format(servers="\n".join(_haproxy(each, service, folder) for each in places))
    )
    (folder / "caddyfile").write_text(
        _CADDY.format(folder=folder, servers="\n".join(_caddy(each, service, folder) for each in places))
    )
    async with contextlib.AsyncExitStack() as stack:
        for name, command in commands.items():
            if any(place.front.program.startswith(name) for place in places):
                await stack.enter_async_context(proxy_running(folder / f"{name}.out", command))
        for place in places:
            await until_open(place.port, folder)
        yield places


def commands_in(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the command that runs each program with its configuration in that folder."""
    return {
        "nginx": ("/usr/sbin/nginx", "-p", str(folder), "-c", str(folder / "nginx")),
        "haproxy": ("/usr/sbin/haproxy", "-db", "-f", str(folder / "haproxy")),
        "caddy": ("/usr/bin/caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "caddyfile")),
    }


def _nginx(place: Place, service: int) -> str:
    front, tls = place.front, " ssl http2" if place.front.has_tls else ""
    if not front.program.startswith("nginx"):
        return ""
    if front.program == "nginx":
        return f"server {{ listen 127.0.0.1:{place.port}{tls}; location / {{ proxy_pass http://127.0.0.1:{service}; {front.rules} }} }}"
    (inner,) = free_ports(1)
    append = 'proxy_set_header X-Forwarded-Host "$http_x_forwarded_host, $http_host"; proxy_set_header X-Forwarded-Proto "$http_x_forwarded_proto, $scheme";'
    return (
        f"server {{ listen 127.0.0.1:{place.port}{tls}; location / {{ proxy_pass http://127.0.0.1:{inner}; {front.rules} }} }}\n"
        f"server {{ listen 127.0.0.1:{inner}; location / {{ proxy_pass http://127.0.0.1:{service}; {_UPGRADE} {_FOR} {append} }} }}"
    )


def _haproxy(place: Place, service: int, folder: Path) -> str:
    if place.front.program != "haproxy":
        return ""
    tls = f" ssl crt {folder}/both.pem alpn h2,http/1.1" if place.front.has_tls else ""
    return f"listen p{place.port}\n  bind 127.0.0.1:{place.port}{tls}\n  {place.front.rules}\n  server s 127.0.0.1:{service}"


def _caddy(place: Place, service: int, folder: Path) -> str:
    if place.front.program != "caddy":
        return ""
    tls = f"tls {folder}/both.pem {folder}/both.pem" if place.front.has_tls else ""
    return f"{place.scheme}://{NAME}:{place.port} {{\n bind 127.0.0.1\n {tls}\n {place.front.rules.format(service=service)}\n}}"


async def make_certificate(folder: Path) -> None:
    """Make a certificate for the name and all below it, ``both.pem``; whoever visits takes it as it is."""
    both = str(folder / "both.pem")
    request = (
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={NAME}",
    )
    made = await asyncio.create_subprocess_exec(
        "openssl", "req", *request, "-addext", f"subjectAltName=DNS:{NAME},DNS:*.{NAME}", "-keyout", both, "-out", str(folder / "cert.pem"),
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await made.wait() == 0
    with (folder / "both.pem").open("a") as file:
        file.write((folder / "cert.pem").read_text())


@contextlib.asynccontextmanager
async def proxy_running(log: Path, command: tuple[str, ...]) -> AsyncIterator[None]:
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*command, stdout=out, stderr=out)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait_for(process.wait(), 30)


async def until_open(port: int, folder: Path) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    said = "".join(path.read_text() for path in (*folder.glob("*.out"), *folder.glob("*.log")))
    raise AssertionError(f"nothing listens on {port}: {said}")


def any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
