"""The form and the workshop code of a request for a notebook."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.web.heads import visit
from tmppool.errors import NoNotebookError, Shortage
from tmppool.web.kinds import Kind
from tmppool.web.spawn_request import read_form, refused, workshop_code

FORM = "application/x-www-form-urlencoded"


async def read(body: bytes, content_type: str = FORM, **headers: str) -> tuple[int, Any]:
    """Return what ``read_form`` finds in such a request, or the refusal's status."""

    async def handle(request: web.Request) -> web.Response:
        return web.json_response(await read_form(request))

    app = web.Application(client_max_size=100_000)
    app.router.add_post("/", handle)
    async with TestClient(TestServer(app)) as client:
        fields = {"Content-Type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await client.post("/", data=body, headers=fields)
        text = await answer.text()
        return answer.status, json.loads(text) if answer.status == 200 else None


FORMS: dict[str, tuple[bytes, dict[str, str]]] = {
    "nothing": (b"", {}),
    "two fields": (b"ticket=a%2Bb&code=c+d", {"ticket": "a+b", "code": "c d"}),
    "a field twice: the first counts": (b"code=a&code=b", {"code": "a"}),
    "fields without a value": (b"code=&ticket", {"code": "", "ticket": ""}),
    "bytes that are no text": (b"code=\xff", {"code": "\ufffd"}),
    "as many fields as are read": (urlencode([("f", "x")] * 1000).encode(), {"f": "x"}),
    "one field more": (urlencode([("f", "x")] * 1001).encode(), {}),
}


@pytest.mark.parametrize(("body", "wanted"), FORMS.values(), ids=FORMS.keys())
async def test_a_form_is_read(body: bytes, wanted: dict[str, str]) -> None:
    assert await read(body) == (200, wanted)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/json", "multipart/form-data; boundary=x", FORM + "x"]
)
async def test_another_body_holds_no_field(content_type: str) -> None:
    assert await read(b"code=a", content_type) == (200, {})


async def test_a_body_that_does_not_decode_holds_no_field() -> None:
    assert await read(b"\x1f\x8b nonsense", Content_Encoding="gzip") == (200, {})


async def test_a_form_that_is_too_large_is_refused() -> None:
    assert await read(b"code=" + b"a" * 100_000) == (413, None)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [(Shortage.FULL, Kind.FULL), (Shortage.WARMING, Kind.WARMING), (Shortage.BACKEND_ILL, Kind.WARMING)],
)
def test_a_shortage_is_answered_with_its_own_words(cause: Shortage, kind: Kind) -> None:
    answer = refused(NoNotebookError(cause, "none now", retry_after=7))
    assert (answer.kind, answer.facts) == (kind, {"message": "none now", "retry_after": 7, "cause": cause})


@pytest.mark.parametrize(
    ("link", "form", "code"),
    [
        ("/spawn", {}, ""),
        ("/spawn?code=a", {}, "a"),
        ("/spawn", {"code": "b"}, "b"),
        ("/spawn?code=a", {"code": "b"}, "b"),
        ("/spawn?code=a", {"code": ""}, "a"),
        ("/api/spawn?x=1&code=mon%64ay", {}, "monday"),
    ],
)
def test_what_was_typed_wins_over_the_links_code(link: str, form: dict[str, str], code: str) -> None:
    assert workshop_code(visit(link, method="POST"), form) == code
