"""Find the address of the Docker Engine as the ``docker`` command does.

In this order: ``DOCKER_HOST``, the context that ``DOCKER_CONTEXT`` names, the one set with ``docker context use``, a
socket at one of the usual paths (Docker documentation, "Docker contexts"). The context ``default`` is that socket.
"""

import hashlib
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmppool.errors import BackendError

_SOCKETS = ("/run/docker.sock", "/var/run/docker.sock")
_USER_SOCKET = "run/docker.sock"  # below ~/.docker, where Docker Desktop puts it


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """A URL (``unix://``, ``tcp://``, ``https://``, ``ssh://``); ``context``: the Docker context it came from, if any.

    ``tls``: the context's certificates; ``DOCKER_CERT_PATH`` applies to ``DOCKER_HOST`` only.
    """

    url: str
    context: str = ""
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"{self.url} (Docker context {self.context!r})" if self.context else self.url

    @property
    def is_local(self) -> bool:
        """True for a Unix socket of this machine."""
        return self.url.startswith("unix:")


def find(environ: Mapping[str, str] = os.environ) -> EngineAddress:
    """Return the engine's address. Does blocking I/O: call it in a thread. Raises BackendError."""
    if environ.get("DOCKER_HOST"):
        return EngineAddress(environ["DOCKER_HOST"])
    home = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or Path.home()) / ".docker")
    name = environ.get("DOCKER_CONTEXT") or _current_context(home)
    if name and name != "default":
        return _of_context(home, name)
    for path in (*map(Path, _SOCKETS), home / _USER_SOCKET):
        if path.is_socket():
            return EngineAddress(f"unix://{path}")
    raise BackendError("no Docker Engine was found: there is no DOCKER_HOST, no Docker context and no local socket")


def _current_context(home: Path) -> str:
    path = home / "config.json"
    try:
        return str(json.loads(path.read_bytes()).get("currentContext") or "")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, AttributeError) as error:
        raise BackendError(f"the Docker context could not be told: {path}: {error}") from error


def _of_context(home: Path, name: str) -> EngineAddress:
    """Read a context's files, in directories named after the SHA-256 of the context's name."""
    folder = hashlib.sha256(name.encode()).hexdigest()
    path = home / "contexts" / "meta" / folder / "meta.json"
    try:
        endpoint: dict[str, Any] = json.loads(path.read_bytes())["Endpoints"]["docker"]
        url, is_unchecked = str(endpoint["Host"]), bool(endpoint.get("SkipTLSVerify"))
        tls = _tls(home / "contexts" / "tls" / folder / "docker", is_unchecked=is_unchecked)
    except FileNotFoundError as error:
        raise BackendError(f"there is no Docker context {name!r}: `docker context ls` lists them") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BackendError(f"the Docker context {name!r} could not be read: {path}: {error!r}") from error
    is_https = tls is not None and url.startswith(("tcp://", "http://"))
    return EngineAddress(f"https://{url.partition('://')[2]}" if is_https else url, name, tls)


def _tls(folder: Path, *, is_unchecked: bool) -> ssl.SSLContext | None:
    authority, certificate, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    if not authority.is_file() and not certificate.is_file():
        return None
    made = ssl.create_default_context(cafile=authority if authority.is_file() else None)
    if is_unchecked:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if certificate.is_file():
        made.load_cert_chain(certificate, key)
    return made
