"""Client of one notebook's Jupyter server, for the service's own requests; visitors' requests do not use it.

Each notebook has its own client: two notebooks never share connections, so their answers cannot be mixed up.
Responses are untrusted input: each is bounded in time and size.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import Collection
from datetime import datetime
from enum import Enum
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from tmppool import input_wait
from tmppool.errors import BackendError, StartError, UnaskedError
from tmppool.head_limit import HeadLimitedResponse
from tmppool.running import EXHAUSTED, Dial, Running

_READY_PAUSE = 0.05  # seconds between two knocks at a server that is starting
_KNOCK_TIMEOUT = 2.0  # seconds for one knock
_ASK_TIMEOUT = 5.0  # seconds for one request to a running server
_CONNECT_TIMEOUT = 1.0  # seconds to connect for a knock
_A_KNOCK = aiohttp.ClientTimeout(total=_KNOCK_TIMEOUT, sock_connect=_CONNECT_TIMEOUT)
# A reply is parsed on the event loop, where a megabyte of hostile JSON takes as long as a hundred visitors.
_MAX_REPLY = 32 * 1024  # bytes; a list of 100 kernels has 20,000
_FUTURE = 3600.0  # seconds by which an activity may be in the future, as clocks differ; more if one was set back
_MAX_DOCUMENT = 1 << 20  # bytes of a document that is read for its kernel's name, before anybody can change it
# Socket buffer in bytes: aiohttp parses all received chunks, however small, before the size can be checked.
_RECEIVE_BUFFER = 8 * 1024


_TLS = (
    "the notebook's server speaks TLS, but the service speaks plain HTTP to it: leave certfile and keyfile"
    " (ServerApp.certfile and ServerApp.keyfile, or NotebookApp's) out of its configuration"
)
_WEB_APP = (401, 403)  # answers of a web application that asks who is there
# A server whose token is empty asks for this double submit instead (Tornado, ``check_xsrf_cookie``).
_XSRF = {"Cookie": "_xsrf=tmppool", "X-XSRFToken": "tmppool"}


class _TooLargeError(BackendError):
    """The reply exceeds its size limit."""


class _RefusedError(BackendError):
    """The server answered that the request is at fault."""


class _NotFoundError(_RefusedError):
    """The notebook's server does not know the path."""


class _ForbiddenError(_RefusedError):
    """The server does not know who asks."""


class _OtherFormError(BackendError):
    """The reply is no JSON."""


class Knock(Enum):
    """The outcome of one short question."""

    ANSWERED = "answered"
    TAKEN = "taken"  # and not answered in time
    UNKNOWN = "unknown"  # it answered, and not there
    REFUSED = "refused"  # by an error of its own, or no connection
    UNASKED = "unasked"  # this machine has no socket left to ask with


_ERRORS: dict[int, type[BackendError]] = {404: _NotFoundError, 401: _ForbiddenError, 403: _ForbiddenError}
_STATUS = "api/status?no_track_activity=1"
_NOT_JUPYTERS = (_RefusedError, _OtherFormError, _TooLargeError)  # answers that no Jupyter gives


class JupyterClient:
    """Client of one notebook. It connects on its first request, and only to its notebook.

    ``is_jupyter`` is None until ``recognise`` has found out if the notebook's server is a Jupyter. ``began``: when the
    server started that was asked first, as it says itself; None if it did not.

    aiohttp's browser-like defaults are off: cookie jar, decompression, redirects, proxies from the environment and
    automatic headers (aiohttp documentation, Client Reference).
    """

    def __init__(self, running: Running) -> None:
        self.running = running
        self.origin = f"http://{running.dial.host}:{running.dial.port}"
        self.is_jupyter = running.is_jupyter
        self.heard = ""  # the last answer to a knock that was not good enough, in words
        self.began = running.began
        self._is_mute = False  # it took the last connection, and spoke no HTTP
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; no request may follow."""
        await self.session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session of all requests, created on first use because that needs a running event loop."""
        if self._session is None:
            self._session = _session(self.running)
        return self._session

    async def answers(self) -> bool | None:
        """Return True if the notebook answers an HTTP request; None if this machine has no socket left to ask with."""
        found = await self.knock()
        return None if found is Knock.UNASKED else found is Knock.ANSWERED

    async def shows_life(self) -> bool | None:
        """Return True if it answers or at least accepts the connection: it may be busy, or its container paused.

        Another server at the same address is no sign of life: a container that was restarted has a new one. Returns
        None if this machine has no socket left to ask with.
        """
        found = await self.knock()
        if found is Knock.UNASKED:
            return None
        return found is Knock.TAKEN or (found is Knock.ANSWERED and not await self._is_another())

    async def knock(self) -> Knock:
        """Ask a short question, within two seconds for each path: the one that the image names, else two.

        ``GET api`` needs no token, and any Jupyter server has it (Jupyter Server REST API). Another web application is
        ready when it answers at its base path, be it that it asks who is there.
        """
        if self.running.knock is not None:
            return await self._knock_at(self.running.knock, _WEB_APP)
        found = await self._knock_at("api", ())
        if found is Knock.UNKNOWN:
            found = await self._knock_at("", _WEB_APP)
        return found

    async def wait_ready(self) -> None:
        """Return when the notebook answers HTTP, and is recognised. The caller sets the timeout.

        Raises StartError if it speaks TLS.
        """
        while not await self.answers():
            if self._is_mute and await _speaks_tls(self.running.dial):
                raise StartError(_TLS, transient=False)
            await asyncio.sleep(_READY_PAUSE)
        await self.recognise()
        if self.is_jupyter is None and self.running.knock is not None:
            self.is_jupyter = False  # it is ready by its image's own word, and answers nothing usable at Jupyter's

    async def recognise(self) -> None:
        """Find out whether the server is a Jupyter, unless that is known; without an answer it stays unknown.

        Any Jupyter server says its version to everybody at ``api``, and its last use at ``api/status``. Another
        web application may have one of these, or answer at any path.
        """
        if self.is_jupyter is None:
            with contextlib.suppress(BackendError, RuntimeError):  # the last: it was closed meanwhile
                self.is_jupyter = await self._has_version() and await self._has_status()

    async def silent_for(self) -> float | None:
        """Return the seconds since something worked: 0 while a kernel computes, else since a terminal printed.

        None if there is neither. A kernel that waits for input does not compute, though Jupyter calls it busy. When a
        kernel last had a message does not count: any page that is open may poll it. What a terminal prints is read by
        its server, and counted, also while no page shows it (Jupyter Server Terminals, ``pre_pty_read_hook``). Raises
        BackendError if an answer of a Jupyter is unusable; another server may have kernels like one, or pages there.
        Raises UnaskedError if it could not be asked.
        """
        await self.recognise()
        try:
            return await self._silence()
        except UnaskedError:
            raise
        except BackendError:
            if self.is_jupyter is False:
                return None
            raise

    async def _silence(self) -> float | None:
        busy = {
            str(kernel.get("id")) for kernel in await self._list("kernels") if kernel.get("execution_state") == "busy"
        }
        if busy and busy - await self._waiting():
            return 0.0
        ages = [_age(terminal) for terminal in await self._list("terminals")]
        return min((age for age in ages if age is not None), default=None)

    async def _waiting(self) -> set[str]:
        """Return the kernels that wait for input. Raises UnaskedError."""
        try:
            return await asyncio.to_thread(input_wait.waiting, self.running.pid)
        except RuntimeError as error:
            raise UnaskedError(f"the notebook's processes were not looked at: {error}") from error

    async def start_kernel(self, document: str) -> None:
        """Start the kernel of ``document`` (a path below the home) before the page needs it.

        JupyterLab 4 and Notebook 7 attach to an existing session with the document's path. No effect on a server that
        is no Jupyter. Raises BackendError.
        """
        if self.is_jupyter is False:
            return
        try:
            found = await self._ask(
                "GET", f"api/contents/{quote(document)}?type=notebook&content=1", most=_MAX_DOCUMENT
            )
        except _TooLargeError:
            raise  # do not guess: the page would use the kernel that it finds
        except BackendError:
            found = None  # use the default kernel
        kernel = found
        for part in ("content", "metadata", "kernelspec", "name"):
            kernel = kernel.get(part) if isinstance(kernel, dict) else None
        name = document.rsplit("/", 1)[-1]
        wanted = {"path": document, "name": name, "type": "notebook", "kernel": {"name": kernel}}
        await self._ask("POST", "api/sessions", wanted)

    async def refuses_token(self) -> bool:
        """Return True if the server is a Jupyter that does not take the service's token, but another or a password."""
        if not self.is_jupyter:
            return False
        try:
            await self._ask("GET", "api/status")
        except _ForbiddenError:
            return True
        except BackendError:
            pass
        return False

    async def _has_version(self) -> bool:
        try:
            said = await self._ask("GET", "api")
        except _NOT_JUPYTERS:
            return False
        return isinstance(said, dict) and isinstance(said.get("version"), str)

    async def _has_status(self) -> bool:
        try:
            said = await self._ask("GET", _STATUS)
        except _ForbiddenError:
            return True  # to whoever has another token
        except _NOT_JUPYTERS:
            return False
        if isinstance(said, dict) and self.began is None:
            self.began = said.get("started")
        return isinstance(said, dict) and "last_activity" in said

    async def _is_another(self) -> bool:
        """Return True if the server that answers was started later than the one that was asked first."""
        if self.began is None:
            return False
        with contextlib.suppress(BackendError, RuntimeError):
            said = await self._ask("GET", _STATUS)
            return isinstance(said, dict) and said.get("started") not in (None, self.began)
        return False

    async def log_in(self, host: str) -> list[str]:
        """Return the cookies that Jupyter sets for whoever sends its token to ``host``, as it sent them.

        Raises BackendError if there is no answer.
        """
        headers = {"Authorization": f"token {self.running.token}", "Host": host}
        try:
            async with (
                asyncio.timeout(_ASK_TIMEOUT),
                self.session.get(self._url("api/status"), headers=headers, allow_redirects=False) as reply,
            ):
                if reply.status >= 500:  # noqa: PLR2004 - 5xx begin there: it may do better later
                    raise BackendError(f"the notebook answered {reply.status} to a login")
                return reply.headers.getall("Set-Cookie", [])
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:  # the last: it was closed meanwhile
            raise BackendError(f"the notebook's response is unusable: {type(error).__name__}") from error

    async def _list(self, name: str) -> list[dict[str, Any]]:
        """Return the notebook's list of this name; empty on a server without it, which need not be Jupyter's."""
        try:
            found = await self._ask("GET", f"api/{name}?no_track_activity=1")
        except _NotFoundError:
            return []
        if not isinstance(found, list):
            raise BackendError(f"the notebook's list of {name} is not a list")
        return [each for each in found if isinstance(each, dict)]

    async def _knock_at(self, path: str, also: Collection[int]) -> Knock:
        """Probe one path; a status of less than 400, or one of ``also``, is an answer."""
        self._is_mute = False
        try:
            async with self.session.get(self._url(path), allow_redirects=False, timeout=_A_KNOCK) as reply:
                status = reply.status
        except aiohttp.ConnectionTimeoutError:  # nobody listens
            return Knock.REFUSED
        except aiohttp.ClientConnectorError as error:
            return Knock.UNASKED if error.errno in EXHAUSTED else Knock.REFUSED
        except TimeoutError:
            self.heard = f"it took the request for {{base_path}}{path} and did not answer"
            return Knock.TAKEN
        except aiohttp.ClientError:
            self._is_mute = True
            self.heard = "it took the connection and gave no HTTP response"
            return Knock.REFUSED
        except (OSError, RuntimeError):  # the latter: this client was closed meanwhile, as its notebook has ended
            return Knock.REFUSED
        if status < 400 or status in also:  # noqa: PLR2004 - 4xx and 5xx begin there
            return Knock.ANSWERED
        self.heard = f"its last answer was {status} to GET {{base_path}}{path}"
        return Knock.UNKNOWN if status < 500 else Knock.REFUSED  # noqa: PLR2004 - the server's own errors begin there

    async def _ask(self, method: str, path: str, body: object = None, most: int = _MAX_REPLY) -> Any:
        try:
            async with asyncio.timeout(_ASK_TIMEOUT):
                headers = {"Authorization": f"token {self.running.token}", "Content-Type": "application/json", **_XSRF}
                async with self.session.request(
                    method,
                    self._url(path),
                    headers=headers,
                    data=None if body is None else json.dumps(body),
                    allow_redirects=False,
                ) as reply:
                    text = await _read_bounded(reply, most)
                    if reply.status >= 400:  # noqa: PLR2004 - 4xx and 5xx begin there
                        kind = _RefusedError if reply.status < 500 else BackendError  # noqa: PLR2004 - as above
                        raise _ERRORS.get(reply.status, kind)(
                            f"the notebook answered {reply.status} to {method} {path.partition('?')[0]}"
                        )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in EXHAUSTED:
                raise UnaskedError(f"the notebook was not asked: {error.strerror}") from error
            raise BackendError(f"the notebook's response is unusable: {type(error).__name__}") from error
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _OtherFormError(f"the notebook's response is unusable: {type(error).__name__}") from error

    def _url(self, path: str) -> URL:
        return URL(f"{self.origin}{self.running.base_path}{path}", encoded=True)


def _session(running: Running) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0,
        force_close=True,  # on a connection that lies idle aiohttp keeps whatever comes
        use_dns_cache=False,
        socket_factory=lambda _address: _narrow(running.dial.make_socket()),
    )
    return aiohttp.ClientSession(
        connector=connector,
        response_class=HeadLimitedResponse,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        requote_redirect_url=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        max_line_size=16 * 1024,
        max_field_size=64 * 1024,
    )


async def _speaks_tls(dial: Dial) -> bool:
    """Return True if the server there completes a TLS handshake, with whatever certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_KNOCK_TIMEOUT):
            sock = await dial.connect()
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock, ssl=context, server_hostname="")
    except (OSError, TimeoutError):
        return False
    transport.abort()
    return True


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


def _age(terminal: dict[str, Any]) -> float | None:
    """Return the seconds since a terminal printed; None if that is unknown, also where the clock was set back since."""
    try:
        age = time.time() - datetime.fromisoformat(str(terminal["last_activity"])).timestamp()
        return max(0.0, age) if age > -_FUTURE else None
    except (KeyError, ValueError, OverflowError):
        return None
