"""A "notebook" that is nginx serving a file: an upstream so fast that only the proxy is measured.

Run by the process backend as ``upstream_files.py BASE_PATH PORT PORT_FILE``. It writes a configuration into the current
directory and executes nginx.
"""

import os
import shutil
import sys
from pathlib import Path

SIZE = 1024  # bytes of the file ``k1``

_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {here}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type text/plain;
    keepalive_requests 100000000;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    open_file_cache max=100 inactive=600s;
    open_file_cache_valid 600s;
    server {{
        listen 127.0.0.1:{port};
        root {here}/www;
    }}
}}
"""


def main(base_path: str, port: str, port_file: str) -> None:
    here = Path.cwd()
    files = here / "www" / base_path.strip("/")
    files.mkdir(parents=True)
    (files / "k1").write_bytes(b"x" * SIZE)
    (files / "api").write_text("{}")
    user = "user root;" if os.geteuid() == 0 else ""  # the home is private to its owner
    (here / "nginx.conf").write_text(_CONFIG.format(user=user, here=here, port=port))
    Path(port_file).write_text(port)
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if nginx is None:
        sys.exit("nginx is not installed")
    os.execv(nginx, [nginx, "-c", str(here / "nginx.conf"), "-e", "stderr", "-p", str(here)])


if __name__ == "__main__":
    main(*sys.argv[1:])
