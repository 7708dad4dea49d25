"""Tells other sites what to show of a launch link before anybody opens it: OpenGraph, oEmbed, and a picture.

Sources: the Open Graph protocol; oEmbed 1.0, sections 2.2 to 2.4 and 4 (discovery). Nothing is started for any of it.
"""

from collections.abc import Mapping
from urllib.parse import quote

from aiohttp import web
from yarl import URL

from tmppool import jupyter_urls
from tmppool.document_index import DocumentIndex
from tmppool.image_documents import names_document
from tmppool.pools import Pools
from tmppool.proxy import target
from tmppool.web import addresses, links, models, snippets
from tmppool.web.answers import AnswerError
from tmppool.web.context import visit_of
from tmppool.web.kinds import Kind
from tmppool.web.visit import Visit

DESCRIPTION = "A temporary notebook of your own, in your browser. No account needed."
_WIDTH, _HEIGHT = 800, 600  # pixels of a frame, unless the site allows less
_LEAST = 200
_CARD = "/static/card.png"
_PICTURE_HEADERS = {"Cache-Control": "public, max-age=3600", "Cross-Origin-Resource-Policy": "cross-origin"}


class Preview:
    """``documents`` are the images', by pool. ``is_embeddable``: every page may embed notebooks.

    Who asks for an oEmbed does not say on whose pages its answer will stand.
    """

    def __init__(self, pools: Pools, documents: Mapping[str, DocumentIndex], *, is_embeddable: bool) -> None:
        self._pools = pools
        self._documents = documents
        self._is_embeddable = is_embeddable

    def facts(self, visit: Visit, pool: str, document: str) -> dict[str, str]:
        """Return what the head of a launch page tells: title, description, URLs of the page, its picture, oEmbed."""
        link = visit.own_origin + links.without_code(visit.target)
        return {
            "title": self._title(pool, document),
            "description": DESCRIPTION,
            "url": link,
            "picture": visit.own_origin + self._picture_path(pool, document),
            "oembed": f"{visit.own_origin}/oembed?url={quote(link, safe='')}&format=json",
        }

    async def oembed(self, request: web.Request) -> web.Response:
        """GET /oembed?url=…: tell how a launch link is embedded, or linked where not every page may embed it."""
        visit = visit_of(request)
        if request.query.get("format", "json") != "json":
            raise AnswerError(Kind.NOT_JSON)
        raw = _launch_link(request.query.get("url", ""), visit.own_origin)
        if raw is None:
            raise AnswerError(Kind.NO_LINK)
        pool = self._pools.get(links.pool_of(raw))
        if pool is None:
            raise AnswerError(Kind.NO_POOL)
        document = jupyter_urls.file_of(links.target_of(links.without_code(raw), "/")) or ""
        title, home = self._title(pool.name, document), f"{visit.own_origin}/"
        picture = visit.own_origin + self._picture_path(pool.name, document)
        if not self._is_embeddable:
            return models.to_response(models.OEmbedLink(title=title, provider_url=home, thumbnail_url=picture))
        width, height = _within(request, "maxwidth", _WIDTH), _within(request, "maxheight", _HEIGHT)
        frame = snippets.frame(visit.own_origin + links.without_code(raw), title, width, height)
        body = models.OEmbedFrame(
            title=title, provider_url=home, thumbnail_url=picture, html=frame, width=width, height=height
        )
        return models.to_response(body)

    async def picture(self, request: web.Request) -> web.Response:
        """GET /picture/<document>: the first picture that a document shows, as PNG."""
        pool = self._pools.get(links.pool_of(visit_of(request).target))
        document = None if pool is None else self._documents[pool.name].by_path.get(request.match_info["rest"])
        if document is None or document.picture is None:
            raise web.HTTPNotFound
        return web.Response(body=document.picture, content_type="image/png", headers=_PICTURE_HEADERS)

    def _title(self, pool: str, file: str) -> str:
        """Return the title of a document, else its name; what else a link names is not for others to read as ours."""
        return self._documents[pool].title(file) or (file if names_document(file) else "A live notebook")

    def _picture_path(self, pool: str, document: str) -> str:
        known = self._documents[pool].by_path.get(document)
        if known is None or known.picture is None:
            return _CARD
        path = f"/picture/{quote(document)}"
        return path if pool == self._pools.default.name else links.with_query(path, f"pool={pool}")


def _launch_link(url: str, origin: str) -> str | None:
    """Return path and query of a launch link, as the proxy takes them; None for any other URL."""
    link = url.partition("#")[0]
    below = link[len(origin) :]
    raw = ("/" * (below[:1] in ("", "?")) + below).encode(errors="surrogatepass")
    taken = raw if target.is_accepted(raw) else target.correct(raw)
    if link[: len(origin)].lower() != origin.lower() or taken is None:
        return None
    path = URL.build(path=taken.partition(b"?")[0].decode(), encoded=True).path_safe
    return taken.decode() if addresses.find(path).is_launch else None


def _within(request: web.Request, name: str, usual: int) -> int:
    """Return a frame's width or height, not above what the site allows; a value that is none counts as usual."""
    try:
        return max(_LEAST, min(usual, int(request.query[name])))
    except (KeyError, ValueError):
        return usual
