"""What other sites show of a launch link tells of the document, and takes nothing."""

import html
import re
from typing import Any
from urllib.parse import quote

import pytest

from tests.web.guests import Answer, Place
from tmppool.image_documents import Document
from tmppool.pool_settings import PoolSettings

PNG = b"\x89PNG\r\n\x1a\nxxx"
KNOWN = (Document("a b.ipynb", 'Lines & "curves"', PNG), Document("plain.ipynb"), Document("text.md", "A text"))


@pytest.fixture
def open_library(open_place: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("tmppool.app._documents", lambda _traits: KNOWN)
    return open_place


def meta(page: Answer) -> dict[str, str]:
    found = re.findall(r'<meta (?:property|name)="([^"]+)" content="([^"]*)"', page.text)
    return {name: html.unescape(value) for name, value in found}


def oembed_link(page: Answer) -> str:
    found = re.search(r'<link rel="alternate" type="application/json\+oembed" href="([^"]+)"', page.text)
    assert found is not None
    return html.unescape(found[1])


async def test_the_head_tells_title_and_picture(open_library: Any) -> None:
    place: Place = await open_library(workshop_code="monday")
    page = await place.stranger(User_Agent="facebookexternalhit/1.1", Accept="text/html").get("/lab/tree/a%20b.ipynb")
    assert page.status == 200
    told = meta(page)
    assert told["og:title"] == 'Lines & "curves"'
    assert told["og:url"] == f"{place.url}/lab/tree/a%20b.ipynb"
    assert told["og:image"] == f"{place.url}/picture/a%20b.ipynb"
    picture = await place.stranger().get(told["og:image"].removeprefix(place.url))
    assert (picture.status, picture.headers["Content-Type"], picture.body) == (200, "image/png", PNG)
    assert picture.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert meta(await place.person().get("/lab/tree/plain.ipynb"))["og:title"] == "plain.ipynb"
    for text in ("/edit/text.md", "/lab/tree/text.md", "/spawn/voila/render/text.md"):
        page = await place.person().get(text)
        assert meta(page)["og:title"] == "A text"
        assert (await place.stranger().get(oembed_link(page).removeprefix(place.url))).json["title"] == "A text"
    card = meta(await place.person().get("/"))["og:image"]
    assert (await place.stranger().get(card.removeprefix(place.url))).headers["Content-Type"] == "image/png"
    assert (await place.stranger().get("/picture/plain.ipynb")).status == 404
    assert (await place.stats())["assigned"] == 0


async def test_a_link_of_another_service_is_shown_as_what_it_leads_to(open_library: Any) -> None:
    place: Place = await open_library()
    _, page = await place.person().follow(await place.person().get("/v2/gh/o/r/main?labpath=a%20b.ipynb"))
    assert meta(page)["og:title"] == 'Lines & "curves"'


async def test_oembed_gives_a_frame_where_every_page_may_embed(open_library: Any) -> None:
    place: Place = await open_library(embed_origins=("*",))
    link = oembed_link(await place.person().get("/lab/tree/a%20b.ipynb"))
    found = (await place.stranger().get(link.removeprefix(place.url) + "&maxwidth=500&maxheight=9999")).json
    assert (found["version"], found["type"], found["title"]) == ("1.0", "rich", 'Lines & "curves"')
    assert (found["width"], found["height"]) == (500, 600)
    assert f'src="{place.url}/lab/tree/a%20b.ipynb"' in found["html"]
    assert 'title="Lines &amp; &quot;curves&quot;"' in found["html"]
    assert (await place.stats())["assigned"] == 0


@pytest.mark.parametrize("origins", [(), ("https://docs.example", "https://*.example")])
async def test_where_some_page_may_not_embed_oembed_is_a_link(open_library: Any, origins: tuple[str, ...]) -> None:
    place: Place = await open_library(embed_origins=origins)
    found = (await place.stranger().get(f"/oembed?url={quote(place.url + '/lab', safe='')}")).json
    assert (found["type"], "html" in found) == ("link", False)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 404),
        ("url=https://elsewhere.example/lab", 404),
        ("url={url}/health", 404),
        ("url={url}/user/abc/lab", 404),
        ("url={url}/lab?pool=none", 404),
        ("url={url}/lab&format=xml", 501),
        ("url=http://[", 404),
        ("url={url}.evil.example/lab", 404),
        ("url={url}@evil.example/lab", 404),
        ("url={url}/notebooks/../../session/x", 404),
        ("url={url}/notebooks/%252e%252e/x", 404),
        (r"url={url}/notebooks/x\..\y", 404),
        (r"url={url}/notebooks/x\y", 404),
        ("url={url}/notebooks/a%2500", 404),
        ("url={url}/notebooks/%ud83d", 404),
        ("url={url}/lab%252Ftree%252Fa.ipynb", 404),
    ],
)
async def test_what_is_no_launch_link_is_said(open_library: Any, query: str, status: int) -> None:
    place: Place = await open_library()
    assert (await place.stranger().get(f"/oembed?{query.format(url=place.url)}")).status == status


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("", "/"),
        ("?pool=tmppool", "/?pool=tmppool"),
        ("/lab#cell", "/lab"),
        ("/notebooks/a b.ipynb", "/notebooks/a%20b.ipynb"),
        ("/notebooks/ä.ipynb", "/notebooks/%C3%A4.ipynb"),
        ("/notebooks/a\r\nb", "/notebooks/a%0D%0Ab"),
        ("/spawn/lab", "/spawn/lab"),
    ],
)
async def test_a_frame_shows_the_link_as_browsers_are_led_to_it(open_library: Any, link: str, shown: str) -> None:
    place: Place = await open_library(embed_origins=("*",))
    found = (await place.stranger().get(f"/oembed?url={quote(place.url + link, safe='')}")).json
    assert f'src="{place.url}{shown}"' in found["html"]


async def test_a_pools_documents_are_its_own(open_library: Any) -> None:
    place: Place = await open_library(pools={"r": PoolSettings(pool_size=1)})
    told = meta(await place.person().get("/lab/tree/a%20b.ipynb?pool=r"))
    assert told["og:image"] == f"{place.url}/picture/a%20b.ipynb?pool=r"
    assert (await place.stranger().get("/picture/a%20b.ipynb?pool=none")).status == 404
