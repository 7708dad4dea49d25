"""What every handler may use: who the visitor is, and whether a page of ours sent the request."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict
from tmppool.web.site import Site, visitor_id

from tests.web.guests import Place, eventually
from tmppool.errors import BackendError, TakenError
from tmppool.notebook import State
from tmppool.proxy.forwarded import Client, networks

PEER = "203.0.113.1"


def site(**changes: Any) -> Site:
    return Site(pools=None, ledger=None, landing={}, images={}, **changes)  # type: ignore[arg-type]


def request(headers: dict[str, str]) -> web.Request:
    return make_mocked_request("GET", "/", headers={"Host": "nb.example", **headers})


ORIGINS = {
    "nothing said": ({}, False),
    "same origin": ({"Sec-Fetch-Site": "same-origin"}, False),
    "typed in": ({"Sec-Fetch-Site": "none"}, False),
    "same site": ({"Sec-Fetch-Site": "same-site"}, True),
    "cross site": ({"Sec-Fetch-Site": "cross-site"}, True),
    "an unknown word": ({"Sec-Fetch-Site": "anything"}, True),
    "an empty word": ({"Sec-Fetch-Site": ""}, True),
    "metadata before origin": ({"Sec-Fetch-Site": "cross-site", "Origin": "http://nb.example"}, True),
    "own origin": ({"Origin": "http://nb.example"}, False),
    "own origin in capitals": ({"Origin": "http://NB.Example"}, False),
    "own host by https": ({"Origin": "https://nb.example"}, False),
    "null": ({"Origin": "null"}, True),
    "empty": ({"Origin": ""}, True),
    "another port": ({"Origin": "http://nb.example:81"}, True),
    "another host": ({"Origin": "http://evil.example"}, True),
    "a host that begins alike": ({"Origin": "http://nb.example.evil"}, True),
    "a host that ends alike": ({"Origin": "http://evilnb.example"}, True),
    "a user name": ({"Origin": "http://nb.example@evil.example"}, True),
}


@pytest.mark.parametrize(("headers", "is_cross"), ORIGINS.values(), ids=ORIGINS.keys())
def test_which_requests_a_page_elsewhere_sent(headers: dict[str, str], is_cross: bool) -> None:  # noqa: FBT001
    assert site().is_cross_site(PEER, CIMultiDict({"Host": "nb.example", **headers})) is is_cross


def test_a_page_elsewhere_is_refused_with_a_sentence() -> None:
    with pytest.raises(web.HTTPForbidden) as error:
        site().refuse_cross_site(request({"Sec-Fetch-Site": "cross-site"}))
    assert str(error.value.text).endswith(".")
    site().refuse_cross_site(request({}))


@pytest.mark.parametrize(
    ("url", "client"),
    [
        ("https://nb.example.org", Client(PEER, "https", "nb.example.org")),
        ("http://nb.example.org", Client(PEER, "http", "nb.example.org")),
        ("https://nb.example.org:8443", Client(PEER, "https", "nb.example.org:8443")),
        ("https://[2001:db8::1]", Client(PEER, "https", "[2001:db8::1]")),
    ],
)
def test_the_public_url_says_how_a_visitor_came(url: str, client: Client) -> None:
    assert site(public_url=url).client_of(PEER, CIMultiDict({"Host": "inside:8000"})) == client


def test_only_a_trusted_proxy_says_how_a_visitor_came() -> None:
    said = CIMultiDict(
        {"Host": "inside", "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "nb.example"}
    )
    assert site().client_of(PEER, said) == Client(PEER, "http", "inside")
    assert site(trusted=networks([PEER])).client_of(PEER, said) == Client("1.2.3.4", "https", "nb.example")


def test_a_visitor_is_a_digest_of_his_cookie() -> None:
    cookie, visitor = site().new_visitor()
    assert site().visitor(request({"Cookie": f"a=b; tmppool={cookie}"})) == visitor == visitor_id(cookie)
    assert cookie not in visitor
    assert len(cookie) == 22


@pytest.mark.parametrize(
    "cookies", ["\u00a0tmppool={evil}; tmppool={good}", 'a="b; tmppool={good}; c"; \u2003tmppool={evil}']
)
def test_a_page_cannot_put_a_visitor_into_anothers_place_with_a_name_that_looks_like_ours(cookies: str) -> None:
    found = site().visitor(request({"Cookie": cookies.format(good="g" * 22, evil="e" * 22)}))
    assert found == visitor_id("g" * 22)


def test_no_two_visitors_are_the_same() -> None:
    assert len({site().new_visitor() for _ in range(100)}) == 100


@pytest.mark.parametrize("cookie", ["", "tmppool=", "tmppool=short", "other=" + "x" * 22, "__Host-tmppool=" + "x" * 22])
def test_without_our_cookie_there_is_no_visitor(cookie: str) -> None:
    assert site().visitor(request({"Cookie": cookie})) is None


def test_with_tls_only_the_cookie_that_is_bound_to_the_host_counts() -> None:
    secure = site(public_url="https://nb.example")
    assert secure.visitor(request({"Cookie": "tmppool=" + "x" * 22})) is None
    assert secure.visitor(request({"Cookie": "__Host-tmppool=" + "x" * 22})) is not None


@pytest.mark.parametrize(
    ("url", "name", "is_secure"),
    [("http://nb.example", "tmppool", False), ("https://nb.example", "__Host-tmppool", True)],
)
def test_a_cookie_is_out_of_reach_of_scripts_and_other_sites(url: str, name: str, is_secure: bool) -> None:  # noqa: FBT001
    response = web.Response()
    site(public_url=url).set_cookie(request({}), response, "v" * 22)
    morsel = response.cookies[name]
    assert (morsel.value, morsel["path"], morsel["httponly"], morsel["samesite"], morsel["domain"]) == (
        "v" * 22,
        "/",
        True,
        "Lax",
        "",
    )
    assert bool(morsel["secure"]) is is_secure


# Giving away


@pytest.mark.parametrize("is_durable", [True, False])
async def test_nobody_enters_before_the_backend_has_noted_that_the_notebook_is_given_away(
    place: Place,
    is_durable: bool,  # noqa: FBT001
) -> None:
    """The ledger alone does not do: it may be lost, and the notebook would look like a warm one."""
    (pool,) = place.pools
    backend = place.backend
    if not is_durable:
        place.ledger._path = None
    taken = set()

    async def refuse(key: str) -> None:
        taken.add(key)
        raise BackendError("no space left on device")

    give, backend.give = backend.give, refuse
    answer = await place.program().ask("POST", "/api/spawn")
    assert (answer.status, answer.json["status"], answer.headers["Retry-After"]) == (503, "warming", "10")
    assert len(taken) == 1
    assert all(pool.find(key) is None for key in taken)

    backend.give = give
    await eventually(lambda: pool.count(State.WARM))
    answer = await place.program().ask("POST", "/api/spawn")
    assert answer.status == 200
    assert backend.given == {answer.json["url"].split("/")[2]}


async def test_while_the_backend_is_ill_no_warm_notebook_is_wasted(place: Place) -> None:
    (pool,) = place.pools
    pool.note_illness(BackendError("the engine is away"))
    answer = await place.program().ask("POST", "/api/spawn")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    assert pool.count(State.WARM) == 4
    pool.note_illness(None)
    assert (await place.program().ask("POST", "/api/spawn")).status == 200


async def test_one_that_another_service_gave_away_is_left_alone(place: Place) -> None:
    (pool,) = place.pools
    backend = place.backend
    taken = set()

    async def be_late(key: str) -> None:
        taken.add(key)
        raise TakenError("another service was first")

    give, backend.give = backend.give, be_late
    answer = await place.program().ask("POST", "/api/spawn")
    assert answer.status == 503
    (key,) = taken
    assert key not in pool
    assert key in backend.notebooks
    assert backend.stopped == []
    backend.give = give
    assert (await place.program().ask("POST", "/api/spawn")).json["url"] != f"/user/{key}/"
