"""The proxies of docs/reverse-proxies.md, as they stand there: only ports and the paths of certificates are filled in."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from tests.acceptance import fronts
from tests.acceptance.harness import ROOT

DOCUMENT = ROOT / "docs/reverse-proxies.md"
PROGRAMS = ("nginx", "haproxy", "caddy")

_NGINX = """
user root; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {written}
}}
"""
"""What a distribution's own nginx.conf says around a site's file."""

_CADDY = """
{{
  admin off
  http_port {plain}
  https_port {tls}
  storage file_system {folder}/storage
}}
{written}
"""


def written(program: str, *, has_domains: bool = False) -> str:
    """Return the configuration in the document; ``has_domains``: with the lines for a host name per notebook."""
    blocks = re.findall(rf"^```{program}(?:file)?\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    whole, *changed = blocks
    for line in "".join(changed).splitlines() if has_domains else ():
        begin = re.escape(line.split()[0].rstrip(","))
        whole, count = re.subn(rf"^ *{begin}\b.*$", line, whole, flags=re.MULTILINE)
        assert count, f"there is no line to put {line!r} in the place of"
    return whole


def filled_in(program: str, text: str, folder: Path, service: int, plain: int, tls: int) -> str:
    """Return a configuration that runs here: ports that are free, a certificate that is there."""
    text = re.sub(r"/etc/ssl/nb\.example/\w+\.pem", str(folder / "both.pem"), text)
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{service}")
    if program == "caddy":
        return _CADDY.format(folder=folder, plain=plain, tls=tls, written=text)
    text = re.sub(r"^( *(?:listen|bind) (?:\[::\]:|:)?)80\b", rf"\g<1>{plain}", text, flags=re.MULTILINE)
    text = re.sub(r"^( *(?:listen|bind) (?:\[::\]:|:)?)443\b", rf"\g<1>{tls}", text, flags=re.MULTILINE)
    if not socket.has_dualstack_ipv6():
        text = re.sub(r"^ *listen \[::\].*$", "", text, flags=re.MULTILINE)
    return text if program == "haproxy" else _NGINX.format(folder=folder, written=text)


@contextlib.asynccontextmanager
async def started(program: str, text: str, folder: Path, service: int, ports: tuple[int, int]) -> AsyncIterator[Path]:
    """Run a proxy with that configuration, by http and https at ``ports``; what it says is in the file that is given."""
    folder.mkdir()
    await fronts.make_certificate(folder)
    name = "caddyfile" if program == "caddy" else program
    (folder / name).write_text(filled_in(program, text, folder, service, *ports))
    said = folder / f"{program}.out"
    async with fronts.proxy_running(said, fronts.commands_in(folder)[program]):
        for port in ports:
            await fronts.until_open(port, folder)
        await asyncio.sleep(0.1)
        yield said
