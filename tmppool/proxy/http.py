"""One request to a notebook and its response, streamed both ways.

Bodies are never held: aiohttp's flow control stops reading on one side while the other cannot write. The path goes
on byte for byte.
"""

import re

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from tmppool.proxy import headers
from tmppool.proxy.forwarded import Client
from tmppool.upstream import Upstream

_APP_PAGE = re.compile(r"^(lab|doc|tree|notebooks|edit|consoles|terminals|nbclassic)(/|$)")
_MAX_PAGE = 2 * 2**20  # bytes of an application page that the notice is put into
_NO_BODY = (204, 304)


class UpstreamError(Exception):
    """The notebook could not be reached, or answered what is no HTTP. Nothing was sent to the visitor yet."""


async def forward(
    request: web.Request, upstream: Upstream, client: Client, target: str, path: str, notice: bytes
) -> web.StreamResponse:
    """Send ``request`` to ``target`` (raw path and query) and stream the answer back.

    ``notice`` is put into the head of Jupyter's own pages; ``path`` is what follows the base path. Raises
    UpstreamError.
    """
    outgoing = headers.to_notebook(request.headers, client, upstream.running.token)
    try:
        reply = await upstream.session.request(
            request.method,
            URL(f"{upstream.origin}{target}", encoded=True),
            headers=outgoing,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        )
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise UpstreamError(type(error).__name__) from error
    try:
        return await _answer(request, reply, upstream.running.base_path, path, notice)
    except aiohttp.ClientConnectionResetError:
        raise  # the visitor left
    except aiohttp.ClientError:
        # The notebook broke off in the middle: so does the visitor's response, which must not look complete.
        if request.transport is not None:
            request.transport.abort()
        raise
    finally:
        reply.close() if not reply.content.is_eof() else reply.release()


async def _answer(
    request: web.Request, reply: aiohttp.ClientResponse, base_path: str, path: str, notice: bytes
) -> web.StreamResponse:
    incoming = headers.to_visitor(reply.headers, base_path)
    if _takes_notice(request, reply, path):
        return await _with_notice(request, reply, incoming, notice)
    response = web.StreamResponse(status=reply.status, reason=reply.reason, headers=incoming)
    await response.prepare(request)
    if request.method != "HEAD" and reply.status not in _NO_BODY:
        async for chunk in reply.content.iter_any():
            await response.write(chunk)
    await response.write_eof()
    return response


def _takes_notice(request: web.Request, reply: aiohttp.ClientResponse, path: str) -> bool:
    return (
        request.method == "GET"
        and reply.status == 200  # noqa: PLR2004 - OK
        and reply.content_type == "text/html"
        and "Content-Encoding" not in reply.headers
        and _APP_PAGE.match(path) is not None
    )


async def _with_notice(
    request: web.Request, reply: aiohttp.ClientResponse, incoming: CIMultiDict[str], notice: bytes
) -> web.StreamResponse:
    page = bytearray()
    async for chunk in reply.content.iter_any():
        page += chunk
        if len(page) > _MAX_PAGE:
            break
    incoming.popall("Content-Length", None)
    incoming.popall("ETag", None)  # the page is not what the notebook tagged
    response = web.StreamResponse(status=reply.status, reason=reply.reason, headers=incoming)
    await response.prepare(request)
    await response.write(bytes(page).replace(b"</head>", notice + b"</head>", 1))
    async for chunk in reply.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response
