"""Asks running services for the facts by which links to them are judged. All are GETs, which assign nothing.

The links are not trusted: requests go to the services that were named and nowhere else, and no redirect is followed.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp
from pydantic import ValidationError
from yarl import URL

from tmppool import __version__
from tmppool.check_links.judge import Answer, Facts, question
from tmppool.check_links.text import Link
from tmppool.errors import ServiceAwayError
from tmppool.image_documents import MOST_DOCUMENTS, Document
from tmppool.web import models
from tmppool.web.embedding import Embedding

MOST_QUESTIONS = 5000  # different links for which one service is asked
_AT_A_TIME = 4
_PATIENCE = 30.0  # seconds for one answer
_MOST_ANSWER = 32 << 20  # bytes
_MOST_MESSAGE = 300  # characters
_HEADERS = {"Accept": "application/json", "User-Agent": f"tmppool-check-links/{__version__}"}
_OK, _NOT_FOUND = 200, 404
_ANCESTORS = re.compile(r"\bframe-ancestors ([^;]*)")


async def ask(
    services: Iterable[str], links: Sequence[Link], sites: Sequence[str], on_answer: Callable[[int, int], None]
) -> dict[str, Facts]:
    """Return the facts by service; ``on_answer`` hears how many answers of how many are there.

    Raises ServiceAwayError.
    """
    timeout = aiohttp.ClientTimeout(total=_PATIENCE)
    async with aiohttp.ClientSession(
        timeout=timeout, headers=_HEADERS, trust_env=True, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        return {
            origin: await _facts(
                _Service(session, origin), [link for link in links if link.service == origin], sites, on_answer
            )
            for origin in services
        }


async def _facts(
    service: "_Service", links: Sequence[Link], sites: Sequence[str], on_answer: Callable[[int, int], None]
) -> Facts:
    default = await service.documents()
    others = [await service.documents(pool) for pool in default.pools if pool != default.pool]
    allowed = {site: await service.allows(site) for site in sites}
    questions = list(dict.fromkeys(filter(None, map(question, links))))[:MOST_QUESTIONS]
    done = 0

    async def answered(target: str) -> Answer:
        nonlocal done
        answer = await service.answer(target)
        done += 1
        on_answer(done, len(questions))
        return answer

    has_pages = (await service.answer("/")).status != _NOT_FOUND
    answers = await asyncio.gather(*map(answered, questions))
    documents = {each.pool: _known(each) for each in (default, *others)}
    return Facts(documents, dict(zip(questions, answers, strict=True)), allowed, has_pages)


def _known(listed: models.Documents) -> tuple[Document, ...] | None:
    """Return the documents of a pool; None if it may have more than are listed."""
    is_whole = listed.is_complete and len(listed.documents) < MOST_DOCUMENTS
    return tuple(Document(each.path, each.title) for each in listed.documents) if is_whole else None


class _Service:
    def __init__(self, session: aiohttp.ClientSession, origin: str) -> None:
        self._session = session
        self._origin = origin
        self._free = asyncio.Semaphore(_AT_A_TIME)

    async def documents(self, pool: str | None = None) -> models.Documents:
        target = "/api/documents" if pool is None else f"/api/documents?pool={quote(pool, safe='')}"
        async with self._get(target) as reply:
            body = await _content(reply)
            if reply.status != _OK:
                where = f", to {reply.headers['Location'][:_MOST_MESSAGE]!r}," if "Location" in reply.headers else ""
                said = _message(body) or "is it a tmppool service, of this version or a later one?"
                raise ServiceAwayError(
                    f"--service: {self._origin} answers {reply.status}{where} at {target}: {said[:_MOST_MESSAGE]!r}"
                )
        try:
            return models.Documents.model_validate_json(body)
        except ValidationError as error:
            raise ServiceAwayError(
                f"--service: {self._origin} does not answer at {target} as a tmppool service does"
            ) from error

    async def allows(self, site: str) -> bool:
        """Return True if pages of this origin may embed, as each page says (CSP Level 3 section 6.4.2.1)."""
        async with self._get("/", {"Accept": "text/html"}) as reply:
            said = _ANCESTORS.search(reply.headers.get("Content-Security-Policy", ""))
        return site == self._origin or (said is not None and Embedding(said[1].split()).allows(site))

    async def answer(self, target: str) -> Answer:
        async with self._get(target) as reply:
            location = reply.headers.get("Location", "").partition("#")[0].removeprefix(self._origin)
            return Answer(reply.status, location, _message(await _content(reply)) if reply.status > _OK else "")

    @asynccontextmanager
    async def _get(
        self, target: str, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Raises ServiceAwayError."""
        url = URL(self._origin + target, encoded=True)
        try:
            async with self._free, self._session.get(url, headers=headers, allow_redirects=False) as reply:
                yield reply
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, aiohttp.ClientConnectorCertificateError):
                raise ServiceAwayError(
                    f"--service: the certificate of {self._origin} is not trusted: {str(error.certificate_error)!r};"
                    " if an authority of your own has signed it, let SSL_CERT_FILE name the file of that"
                ) from error
            reason = str(error) or f"nothing came within {_PATIENCE:g} s"
            raise ServiceAwayError(f"--service: {self._origin} does not answer: {reason!r}") from error


async def _content(reply: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer, up to a size. Raises ClientPayloadError."""
    try:
        return await reply.content.readexactly(_MOST_ANSWER)
    except asyncio.IncompleteReadError as whole:
        return whole.partial


def _message(body: bytes) -> str:
    """Return the sentence of a refusal; empty if it has none."""
    try:
        said = json.loads(body)["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return said[:_MOST_MESSAGE] if isinstance(said, str) else ""
