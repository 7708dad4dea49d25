"""The page for page authors: finds what they name, and shows what they copy into their pages. It takes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

from aiohttp import web

from tmppool import jupyter_urls
from tmppool.document_index import DocumentIndex
from tmppool.image_documents import SUFFIXES, Document
from tmppool.pool import Pool
from tmppool.pools import Pools
from tmppool.web import hosts, links, pasted, repositories, snippets
from tmppool.web.answers import AnswerError
from tmppool.web.context import visit_of
from tmppool.web.embedding import EVERY, Embedding
from tmppool.web.kinds import Kind
from tmppool.web.links import Landing
from tmppool.web.pages import Pages, words
from tmppool.web.pasted import Pasted, PastedError, tame
from tmppool.web.peer_links import Repository
from tmppool.web.repositories import Place, Repositories, UnknownRepositoryError
from tmppool.web.snippets import Subject, Way
from tmppool.web.visit import Visit

_MOST_LISTED = 40  # documents on one page, which stays small
_MOST_FIELDS = 100
_KEPT = (
    "files",
    "view",
    "edit",
    *(f"{app}/{page}" for app in ("nbclassic", "retro") for page in ("notebooks", "tree", "edit")),
    "voila/render",
    "voila/tree",
)
"""Pages that are linked to as they were pasted, unless JupyterLab is to open their files."""


class _Wish(NamedTuple):
    """The page's query: what the author typed, in what way it is to be shown, and the pool."""

    text: str
    way: Way | None
    pool: str | None


@dataclass(frozen=True, slots=True)
class _Found:
    """``path``: a launch link's raw path below a notebook. ``document``: the decoded path of the file that it opens."""

    pool: Pool
    path: str
    fragment: str = ""
    document: str = ""
    repository: Repository | None = None
    file: str = ""


class EmbedPage:
    """``documents`` and ``landing``, the path that ``/`` opens, are by pool; ``table`` leads links of repositories."""

    def __init__(
        self,
        pools: Pools,
        pages: Pages,
        documents: Mapping[str, DocumentIndex],
        table: Repositories,
        embedding: Embedding,
        landing: Mapping[str, Landing],
    ) -> None:
        self._pools = pools
        self._pages = pages
        self._documents = documents
        self._table = table
        self._embedding = embedding
        self._landing = landing
        self._examples = {pool.name: next(filter(snippets.is_usable, self._led_to(pool)), None) for pool in pools}

    async def page(self, request: web.Request) -> web.Response:
        """GET /embed?document=…&as=…&pool=…: the form, and the snippets for what it says."""
        visit = visit_of(request)
        wish = _wish(visit)
        pool = self._pools.get(wish.pool)
        if pool is None:
            raise AnswerError(Kind.NO_POOL)
        error, found = "", _Found(pool, "")
        try:
            found = self._find(wish.text, pool, visit)
        except PastedError as refusal:
            error = str(refusal)
        ways = list(Way) if _is_jupyter(found.pool) else [Way.NOTEBOOK, Way.FRAME]
        way = wish.way or (Way.LAB if found.path.startswith("lab") else Way.NOTEBOOK)
        way = way if way in ways else Way.NOTEBOOK
        made = _NOTHING if error else self._made(visit, found, way)
        return self._pages.render(
            "embed",
            200,
            text=wish.text,
            pools=[each.name for each in self._pools],
            pool=found.pool.name,
            ways=[each.value for each in ways],
            way=way.value,
            error=error,
            example=self._first(found.pool),
            **self._listed(wish.text, str(made["document"]), found.pool),
            **made,
        )

    # What the author means

    def _find(self, text: str, pool: Pool, visit: Visit) -> _Found:
        """Return what the text means. Raises PastedError."""
        what = pasted.read(text, self._documents[pool.name].by_path, visit.client.host)
        if what.pool is not None:
            named = self._pools.get(what.pool)
            if named is None:
                raise PastedError("This link names a kind of notebook that is not offered here.")
            pool = named
        if what.peer is not None:
            return self._placed(what, text)
        is_page = not what.is_name or not _is_jupyter(pool)
        return _Found(pool, what.path if is_page else f"tree/{what.path}", what.fragment)

    def _placed(self, what: Pasted, text: str) -> _Found:
        """Return where the table leads a link that names a repository. Raises PastedError."""
        assert what.peer is not None
        try:
            place = self._table.place(what.peer)
        except UnknownRepositoryError as error:
            raise PastedError(str(error)) from error
        pool, repository = self._pools.get(place.pool), what.peer.repository
        assert pool is not None, "the settings name pools that are configured"
        page = jupyter_urls.split_page(what.peer.path)
        file = "" if page is None else page[1].partition("?")[0]
        return _Found(
            pool,
            tame(place.path),
            what.fragment,
            repository=None if repository is None else _as_written(repository, text),
            file=file,
        )

    # What the page shows

    def _made(self, visit: Visit, found: _Found, way: Way) -> dict[str, object]:
        """Return the link and the snippets for it."""
        path = _page(found.path, way) if _is_jupyter(found.pool) else found.path
        page = jupyter_urls.split_page(path)
        document = unquote(page[1].partition("?")[0]) if page is not None else ""
        fragment = f"#{found.fragment}" if found.fragment else ""
        link = repositories.launch_link(Place(self._name(found.pool), path)) + fragment
        repository = self._repository(found)
        title = self._title(found.pool, document)
        subject = Subject(
            visit.own_origin,
            visit.own_origin + link,
            title or document or "A live notebook",
            document.rpartition("/")[0],
            repository,
            found.file if repository == found.repository else "",
        )
        return {
            "link": link,
            "url": subject.link,
            "title": title,
            "document": document,
            "is_missing": self._is_missing(found.pool, document),
            "is_unchecked": self._is_unchecked(found.pool, document),
            "snippets": snippets.make(way, subject),
            "is_example": repository == repositories.ANY,
            **self._obstacles(visit, way),
        }

    def _repository(self, found: _Found) -> Repository | None:
        """Return the repository that tools are told, which has to lead to the pool; None if there is none."""
        if found.repository is not None and snippets.is_usable(found.repository):
            return found.repository
        return self._examples[found.pool.name]

    def _led_to(self, pool: Pool) -> Iterator[Repository]:
        """Yield repositories whose links lead to the pool; to find them, the table is compared with itself."""
        return self._table.examples(self._name(pool))

    def _obstacles(self, visit: Visit, way: Way) -> dict[str, object]:
        """Return what keeps pages of other sites from showing notebooks, and the sites whose pages may."""
        origins = self._embedding.origins if way.is_in_page else ()
        is_open = EVERY in origins
        scheme, is_local = visit.client.scheme, hosts.is_this_machine(visit.client.host)
        return {
            "is_closed": way.is_in_page and not origins,
            "origins": [] if is_open else list(origins),
            "is_open": is_open,
            "is_plain": way.is_in_page and scheme == "http" and not is_local,
            "has_no_cookies": way is Way.FRAME and scheme == "http",
            "is_local": is_local,
        }

    def _listed(self, text: str, document: str, pool: Pool) -> dict[str, object]:
        """Return the documents to choose from: those that the text may mean, or all if it means one of them."""
        known = self._documents[pool.name]
        shown = known.documents if document in known.by_path else _meant(text, known)
        return {
            "known": len(known.documents),
            "count": len(shown),
            "documents": [
                {"path": each.path, "parts": words(each.path), "title": each.title} for each in shown[:_MOST_LISTED]
            ],
        }

    def _first(self, pool: Pool) -> str:
        """Return the document to begin with: the landing, else what is named as a beginning; empty without any."""
        known, landing = self._documents[pool.name], jupyter_urls.file_of(self._landing[pool.name].path)
        return landing if landing is not None and landing in known.by_path else known.beginning

    def _is_missing(self, pool: Pool, document: str) -> bool:
        """Return True if this names a document, and the image is known to have none of that name."""
        return self._documents[pool.name].lacks(document)

    def _is_unchecked(self, pool: Pool, document: str) -> bool:
        """Return True if the image may have this or not: a file or directory without documents, or one beyond count."""
        known = self._documents[pool.name]
        return bool(document and known.documents) and not known.has(document) and not known.lacks(document)

    def _title(self, pool: Pool, document: str) -> str:
        return self._documents[pool.name].title(document)

    def _name(self, pool: Pool) -> str | None:
        """Return the pool's name for links; None for the default pool, which needs none."""
        return None if pool is self._pools.default else pool.name


_NOTHING: dict[str, object] = {
    "link": "",
    "url": "",
    "title": "",
    "document": "",
    "is_missing": False,
    "is_unchecked": False,
    "snippets": [],
    "is_example": False,
    "is_closed": False,
    "origins": [],
    "is_open": False,
    "is_plain": False,
    "has_no_cookies": False,
    "is_local": False,
}
"""What is shown where the text means nothing that could be linked to."""


def _wish(visit: Visit) -> _Wish:
    try:
        found = parse_qs(visit.query[1:], keep_blank_values=True, errors="replace", max_num_fields=_MOST_FIELDS)
    except ValueError:  # too many fields
        found = {}
    first = {name: values[0] for name, values in found.items()}
    way = next((each for each in Way if each.value == first.get("as")), None)
    return _Wish(first.get("document", ""), way, first.get("pool") or None)


def _is_jupyter(pool: Pool) -> bool:
    """Return True unless the pool's newest notebook is another application's."""
    return all(notebook.is_jupyter for notebook in [*pool][-1:])


def _page(path: str, way: Way) -> str:
    """Return the path that opens the same file in the way that the author wants; any other path stays as it is."""
    whole, mark, query = path.partition("?")
    if whole.rstrip("/") in ("", "lab", "tree"):
        return ("lab" if way is Way.LAB else "tree" if whole else "") + mark + query
    path = links.with_tree(f"/{path}")[1:]
    page = jupyter_urls.split_page(path)
    if page is None or (page[0] in _KEPT and (way is not Way.LAB or page[0] in ("files", "view"))):
        return path
    if way is Way.LAB:
        return f"lab/tree/{page[1]}"
    is_document = unquote(page[1].partition("?")[0]).endswith(SUFFIXES)
    return f"{'notebooks' if is_document else 'tree'}/{page[1]}"


def _as_written(repository: Repository, text: str) -> Repository:
    """Return the repository in the letters of the author, where they can be found in the text."""
    provider, _, name = repository.name.partition("/")
    written = unquote(text)
    at = written.lower().find(name)
    found = written[at : at + len(name)] if at >= 0 else name
    return Repository(f"{provider}/{found}", repository.ref) if found.lower() == name else repository


def _meant(text: str, known: DocumentIndex) -> Sequence[Document]:
    """Return the documents that have all words of the text in path or title, else those of like names, else all."""
    if len(text) > pasted.MOST:
        return known.documents
    return known.having(text) or [known.by_path[path] for path in known.near(text)] or known.documents
