"""A client of one notebook's Jupyter server, for what the service itself asks; no visitor's request goes through it.

Each notebook has a client of its own: connections, and so mix-ups, are never shared between two notebooks.
What a notebook answers is written by a stranger: every reply read here is bounded in time and size.
"""

import asyncio
import json
import socket
import time
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from tmppool.errors import BackendError
from tmppool.running import Running

_READY_PAUSE = 0.05  # seconds between two knocks at a server that is still starting
_KNOCK_TIMEOUT = 2.0  # seconds for one knock
_ASK_TIMEOUT = 5.0  # seconds for one question to a running server
_CONNECT_TIMEOUT = 1.0  # seconds for a connection to one that is asked for a sign of life
# A reply is read on the loop, where a megabyte of hostile JSON takes as long as a hundred visitors.
_MAX_REPLY = 64 * 1024  # bytes: the list of a hundred kernels has 20,000
_MAX_DOCUMENT = 1 << 20  # bytes of a document that is looked at for its kernel, before anybody could change it
# Bytes that come at once: a reply in the finest chunks is taken apart as a whole before its size can be judged.
_RECEIVE_BUFFER = 8 * 1024


class _TooLargeError(BackendError):
    """A reply that is not read: it would cost more than it can tell."""


class JupyterClient:
    """Asks one notebook. It opens no connection before its first question, and none to anybody but its notebook.

    aiohttp's defaults are a browser's. Here is no cookie jar, no decompression, no redirect, no environment proxy and
    no header that aiohttp adds (aiohttp documentation, Client Reference).
    """

    def __init__(self, running: Running) -> None:
        self.running = running
        self.origin = f"http://{running.dial.host}:{running.dial.port}"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; no question may follow."""
        await self.session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session of all questions, made when it is first needed: that takes a running loop."""
        if self._session is None:
            self._session = _session(self.running)
        return self._session

    async def answers(self) -> bool:
        """Return True if the notebook answers HTTP now."""
        return await self._knock() is True

    async def shows_life(self) -> bool:
        """Return True if it answers or at least takes the question: it may be too busy, or its container paused."""
        return await self._knock() is not False

    async def wait_ready(self) -> None:
        """Return when the notebook answers HTTP. The caller bounds the time."""
        while not await self.answers():
            await asyncio.sleep(_READY_PAUSE)

    async def silent_for(self) -> float | None:
        """Return how many seconds ago a kernel last did something, 0 while one computes; None when none ran.

        Raises BackendError when the notebook gives no usable answer.
        """
        kernels = await self._ask("GET", "api/kernels?no_track_activity=1")
        if not isinstance(kernels, list):
            raise BackendError("the notebook's list of kernels is not a list")
        ages = [_age(kernel) for kernel in kernels if isinstance(kernel, dict)]
        return min((age for age in ages if age is not None), default=None)

    async def start_kernel(self, document: str) -> None:
        """Start the kernel of ``document`` (a path below the home), so that the page finds it running.

        JupyterLab 4 and Notebook 7 attach to a session whose path is the document's. Raises BackendError.
        """
        try:
            found = await self._ask(
                "GET", f"api/contents/{quote(document)}?type=notebook&content=1", most=_MAX_DOCUMENT
            )
        except _TooLargeError:
            raise  # a page that finds another kernel than its own would use that
        except BackendError:
            found = None  # its default kernel, then
        kernel = found
        for part in ("content", "metadata", "kernelspec", "name"):
            kernel = kernel.get(part) if isinstance(kernel, dict) else None
        name = document.rsplit("/", 1)[-1]
        wanted = {"path": document, "name": name, "type": "notebook", "kernel": {"name": kernel}}
        await self._ask("POST", "api/sessions", wanted)

    async def _knock(self) -> bool | None:
        """Ask ``GET api``, which needs no token (Jupyter Server REST API); None: taken, and not answered in time."""
        timeout = aiohttp.ClientTimeout(total=_KNOCK_TIMEOUT, sock_connect=_CONNECT_TIMEOUT)
        try:
            async with self.session.get(self._url("api"), allow_redirects=False, timeout=timeout) as reply:
                return reply.status < 400  # noqa: PLR2004 - 4xx and 5xx begin there
        except aiohttp.ConnectionTimeoutError:
            return False
        except TimeoutError:
            return None
        except (aiohttp.ClientError, OSError):
            return False

    async def _ask(self, method: str, path: str, body: object = None, most: int = _MAX_REPLY) -> Any:
        try:
            async with asyncio.timeout(_ASK_TIMEOUT):
                headers = {"Authorization": f"token {self.running.token}", "Content-Type": "application/json"}
                async with self.session.request(
                    method,
                    self._url(path),
                    headers=headers,
                    data=None if body is None else json.dumps(body),
                    allow_redirects=False,
                ) as reply:
                    text = await _read_bounded(reply, most)
                    if reply.status >= 400:  # noqa: PLR2004 - 4xx and 5xx begin there
                        raise BackendError(f"the notebook answered {reply.status} to {method} {path.partition('?')[0]}")
                    return json.loads(text)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as error:
            raise BackendError(f"the notebook's response is unusable: {type(error).__name__}") from error

    def _url(self, path: str) -> URL:
        return URL(f"{self.origin}{self.running.base_path}{path}", encoded=True)


def _session(running: Running) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0,
        keepalive_timeout=30,
        use_dns_cache=False,
        socket_factory=lambda _address: _narrow(running.dial.make_socket()),
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        requote_redirect_url=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        max_line_size=16 * 1024,
        max_field_size=64 * 1024,
    )


def _narrow(sock: socket.socket) -> socket.socket:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    return sock


async def _read_bounded(reply: aiohttp.ClientResponse, most: int) -> bytes:
    text = bytearray()
    async for chunk in reply.content.iter_any():
        text += chunk
        if len(text) > most:
            raise _TooLargeError(f"the notebook's response is longer than {most} bytes")
    return bytes(text)


def _age(kernel: dict[str, Any]) -> float | None:
    if kernel.get("execution_state") == "busy":
        return 0.0
    try:
        last = datetime.fromisoformat(str(kernel["last_activity"]))
        return max(0.0, time.time() - last.timestamp())
    except (KeyError, ValueError, OverflowError):
        return None
