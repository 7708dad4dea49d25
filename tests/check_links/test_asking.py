"""What the running service tells, and what is made of answers that are none of its."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from tests.check_links.conftest import DOCUMENTS
from tests.proxy.stage import free_ports
from tests.web.guests import Place
from tmppool.check_links import asking
from tmppool.check_links.judge import Answer, Facts
from tmppool.check_links.text import Link
from tmppool.errors import ServiceAwayError
from tmppool.image_documents import MOST_DOCUMENTS


def unheard(_done: int, _total: int) -> None:
    """Show no progress."""


async def facts(service: str, *targets: str, sites: tuple[str, ...] = ()) -> Facts:
    links = [Link("page", 1, 1, service + target, service, target) for target in targets]
    return (await asking.ask([service], links, sites, unheard))[service]


async def test_pools_and_documents_are_told(service: Place) -> None:
    found = await facts(service.url)
    assert list(found.documents) == ["tmppool", "r"]
    assert [each.path for each in found.documents["r"] or ()] == [each.path for each in DOCUMENTS]
    assert found.has_pages


async def test_a_pool_without_a_list_is_not_known(open_place: Any) -> None:
    place: Place = await open_place()
    assert (await facts(place.url)).documents == {"tmppool": None}


async def test_a_list_that_is_full_may_be_cut(service: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_DOCUMENTS", len(DOCUMENTS))
    assert (await facts(service.url)).documents == {"tmppool": None, "r": None}
    assert MOST_DOCUMENTS == 2000


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/v2/gh/org/book/main?labpath=docs/a.ipynb", Answer(303, "/doc/tree/week%201/a.ipynb?pool=r")),
        ("/v2/gh/org/book/main?labpath=docs/a.ipynb%23x", Answer(303, "/doc/tree/week%201/a.ipynb?pool=r")),
        ("/v2/gh/o/r/main", Answer(404, "", "This service has no notebooks for the repository gh/o/r.")),
        ("/build/gh/o/r/main", Answer(404, "", "This service has no notebooks for the repository gh/o/r.")),
        ("/v2/bb/o/r/main", Answer(400, "", "'bb' is no provider of repositories; known are gh, gl, git, gist")),
        ("/hub/user-redirect/lab?pool=r", Answer(303, "/lab?pool=r")),
        ("/notebook/a.ipynb", Answer(404, "", "There is no page at this URL.")),
        ("/badge.svg", Answer(200)),
        ("/lab/%00", Answer(400, "", "This URL could be read in two ways")),
    ],
)
async def test_the_service_says_where_a_link_leads(service: Place, target: str, expected: Answer) -> None:
    before = await service.stats()
    (answer,) = (await facts(service.url, target)).answers.values()
    assert (answer.status, answer.location) == (expected.status, expected.location)
    assert answer.message.startswith(expected.message)
    assert await service.stats() == before


async def test_whether_a_sites_pages_may_embed_is_told(service: Place) -> None:
    sites = ("https://docs.example", "https://other.example", "http://docs.example", service.url)
    assert list((await facts(service.url, sites=sites)).sites.values()) == [True, False, False, True]


async def test_every_site_may_where_the_list_says_so(open_place: Any) -> None:
    place: Place = await open_place(embed_origins=("*",))
    assert (await facts(place.url, sites=("https://docs.example",))).sites == {"https://docs.example": True}


async def test_a_page_that_may_only_call_the_api_embeds_nothing(open_place: Any) -> None:
    place: Place = await open_place(allow_origin="https://docs.example")
    assert (await facts(place.url, sites=("https://docs.example",))).sites == {"https://docs.example": False}


async def test_a_service_for_programs_has_no_pages(open_place: Any) -> None:
    place: Place = await open_place(api_auth_token="x" * 20)
    assert not (await facts(place.url)).has_pages


async def test_each_link_is_asked_for_once_and_not_too_many_are(
    service: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "MOST_QUESTIONS", 3)
    heard: list[tuple[int, int]] = []
    links = [Link("page", 1, 1, "", service.url, f"/v2/gh/o/r{number // 2}/main") for number in range(20)]
    found = await asking.ask([service.url], links, (), lambda done, total: heard.append((done, total)))
    assert list(found[service.url].answers) == [f"/v2/gh/o/r{number}/main" for number in range(3)]
    assert heard == [(1, 3), (2, 3), (3, 3)]


async def test_a_locked_service_says_why(open_place: Any) -> None:
    place: Place = await open_place(backend="process")
    with pytest.raises(ServiceAwayError, match=r"answers 403 at /api/documents.*for the person who started it"):
        await facts(place.url)


async def test_a_service_that_is_not_there() -> None:
    with pytest.raises(ServiceAwayError, match=r"^--service: http://127.0.0.1:.* does not answer"):
        await facts(f"http://127.0.0.1:{free_ports(1)[0]}")


async def test_a_certificate_of_an_own_authority_is_trusted_by_a_variable() -> None:
    certificate = str(Path(__file__).with_name("self_signed.pem"))  # for 127.0.0.1, and the key to it
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = TestServer(web.Application(), host="127.0.0.1")
    await server.start_server(ssl=context)
    url = f"https://127.0.0.1:{server.port}"
    with pytest.raises(ServiceAwayError, match=r"is not trusted: '.*self.signed.*let SSL_CERT_FILE name"):
        await facts(url)
    await server.close()


@pytest.mark.parametrize(
    "target", ["//evil.example/x", "/%2F%2Fevil.example", "/@evil.example", "/:80@evil.example/", "/v2/\\evil"]
)
async def test_no_request_goes_elsewhere(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for what a link holds nor for a redirect."""
    seen: list[str] = []
    real = aiohttp.ClientSession._request

    async def watched(self: Any, method: str, url: Any, **more: Any) -> Any:
        seen.append(f"{method} {URL(url).origin()}")
        return await real(self, method, url, **more)

    monkeypatch.setattr("aiohttp.ClientSession._request", watched)
    async with stranger(status=302, headers={"Location": "https://evil.example/"}) as url:
        with pytest.raises(ServiceAwayError, match="answers 302"):
            await facts(url)
        async with aiohttp.ClientSession() as session:
            answer = await asking._Service(session, url).answer(target)
    assert answer == Answer(302, "https://evil.example/")
    assert set(seen) == {f"GET {url}"}


@asynccontextmanager
async def stranger(**answer: Any) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(**answer)

    app = web.Application()
    app.router.add_get("/{rest:.*}", handle)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the other end has gone
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hold, "127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"text": "<html>hello"}, "does not answer at /api/documents as a tmppool service does"),
        ({"text": '{"pool": "a", "pools": [], "is_complete": true, "documents": [7]}'}, "does not answer at"),
        ({"text": "[" * 100_000}, "does not answer at"),
        ({"status": 404}, "answers 404 at /api/documents: .*is it a tmppool service"),
        ({"status": 404, "text": '{"message": "a\\nb\\u001b"}'}, r"a\\nb\\x1b"),
        (
            {"status": 301, "headers": {"Location": "https://nb.example/x"}},
            "answers 301, to 'https://nb.example/x', at",
        ),
    ],
)
async def test_what_is_no_service_is_told_in_one_line(answer: dict[str, Any], sentence: str) -> None:
    async with stranger(**answer) as url:
        with pytest.raises(ServiceAwayError, match=sentence) as caught:
            await facts(url)
    assert str(caught.value).isprintable()


async def test_a_service_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_PATIENCE", 0.2)
    async with silent() as url:
        with pytest.raises(ServiceAwayError, match=r"does not answer: 'nothing came within 0\.2 s'"):
            await facts(url)


async def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_MOST_ANSWER", 1000)
    async with stranger(text="x" * 100_000) as url:
        with pytest.raises(ServiceAwayError, match="does not answer"):
            await facts(url)
