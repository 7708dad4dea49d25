"""Jupyter's login cookies, which let a request through it to an app inside that has credentials of its own.

An app behind Jupyter, as jupyter-server-proxy serves it, is reached by whoever Jupyter knows. Where ``Authorization``
or ``token`` is the app's, the request has no place for Jupyter's token, and a cookie of its login takes that place
(Jupyter Server 2, ``IdentityProvider``). The cookie's name and signature depend on the Host.
"""

import contextlib

from tmppool.errors import BackendError
from tmppool.jupyter import JupyterClient
from tmppool.proxy.cookies import confine

_MAX_COOKIES = 4
_NOT_OF_A_LOGIN = b"_xsrf"  # it belongs to the page that was sent it


class Login:
    """The cookies of a login at ``host``; ``cookies`` is None until they are known, empty where there are none."""

    def __init__(self, jupyter: JupyterClient, host: str) -> None:
        self._jupyter = jupyter
        self._host = host
        self.cookies: bytes | None = None

    async def fetch(self) -> None:
        """Ask Jupyter for them, once; without an answer the request goes on without them."""
        if self.cookies is None:
            with contextlib.suppress(BackendError):
                self.cookies = _pairs(await self._jupyter.log_in(self._host))


def _pairs(cookies: list[str]) -> bytes:
    confined = (confine(cookie.encode("latin-1", "replace"), b"/") for cookie in cookies[:_MAX_COOKIES])
    pairs = (cookie.partition(b";")[0] for cookie in confined if cookie is not None)
    return b"; ".join(pair for pair in pairs if pair.partition(b"=")[0] != _NOT_OF_A_LOGIN)
