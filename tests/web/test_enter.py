"""How a browser gets into a notebook, once and for good, and how another one is refused."""

import re
import time
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from tests.web.guests import MODES, PATIENCE, Place, eventually
from tests.web.heads import visit
from tmppool.keys import id_of
from tmppool.web import enter, tokens
from tmppool.web.answers import AnswerError
from tmppool.web.judge import Rules, judge
from tmppool.web.tokens import session_token
from tmppool.web.verdict import Enter

Open = Any


@pytest.fixture(params=MODES, ids=("path", "domain"))
async def place(open_place: Open, request: pytest.FixtureRequest) -> Place:
    return await open_place(**request.param)


async def taken(place: Place) -> tuple[str, str, str]:
    """A notebook that a program took: its key, its token, a link that opens a document in it."""
    given = (await place.stranger().post("/api/spawn")).json
    key = given["url"].rstrip("/").rpartition("/")[2]
    return key, given["token"], f"/user/{key}/lab/tree/a.ipynb?x=1&token={given['token']}&y=%26"


@pytest.mark.parametrize(
    "location",
    [
        "/a\r\nX: y",
        "/a\0",
        "/a/../b",
        "/a\\b",
        "//host/a",
        "a",
        "",
        "/a b",
        "/\xe4",
        "https://h/../a",
        "/#a",
        "/a/http://h\r\nX: y",
    ],
)
def test_no_redirect_leads_where_a_request_would_be_refused(location: str) -> None:
    with pytest.raises(AnswerError):
        enter.redirect(location)


def test_a_redirect_leads_to_a_path_here_or_at_another_host_of_ours() -> None:
    for location in ("/", "/lab?x=%2F", "https://n.nb.example:8000/user/k?token=t"):
        assert enter.redirect(location).headers["Location"] == location


# Whoever started it


async def test_who_started_a_notebook_uses_it_and_its_address_alone_is_no_good(place: Place) -> None:
    owner = place.person()
    key = await owner.start("/lab/tree/a.ipynb")
    path = f"/user/{key}/api/kernels"
    assert (await owner.get(path, Sec_Fetch_Mode="cors", Sec_Fetch_Site="same-origin")).status == 200
    async with owner.session.ws_connect(owner.whole(f"{path}/1/channels")) as socket:
        await socket.send_str("mine")
        assert await socket.receive_str() == "mine"
    seen = len(place.asked(key))
    other = place.person()
    await other.start()
    for guest in (place.person(), other):
        assert (await guest.get(f"/user/{key}/lab")).status == 403
        assert (await guest.get(path, Sec_Fetch_Mode="cors", Accept="*/*")).status == 403
        assert (await guest.ask("PUT", f"/user/{key}/x", {"Sec-Fetch-Mode": "cors"}, data=b"x")).status == 403
        with pytest.raises(WSServerHandshakeError) as refused:
            await guest.session.ws_connect(guest.whole(f"{path}/1/channels"))
        assert refused.value.status == 403
    assert len(place.asked(key)) == seen


async def test_a_person_who_may_not_is_told_so_and_offered_the_same_document(place: Place) -> None:
    key = await place.person().start()
    page = await place.person().get(f"/user/{key}/lab/tree/a.ipynb?x=1&token=old")
    assert page.status == 403
    assert page.title == "This notebook belongs to another browser"
    link = "/lab/tree/a.ipynb?x=1" if place.domain is None else f"{place.url}/lab/tree/a.ipynb?x=1"
    assert f'href="{link}"' in page.text
    assert "a.ipynb" in page.text
    assert key not in page.text


async def test_a_program_that_may_not_is_told_so(place: Place) -> None:
    key = await place.person().start()
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        answer = await place.stranger().ask(method, f"/user/{key}/api/kernels")
        assert (answer.status, answer.json["state"]) == (403, "foreign")
        assert "belongs to another browser" in answer.json["message"]
        assert answer.headers["Cache-Control"] == "no-store"


async def test_the_cookie_is_the_notebooks_own_and_out_of_reach(place: Place) -> None:
    person = place.person()
    sent_on = await person.click()
    if place.domain is not None:
        sent_on = await person.get(sent_on.location)
    name = f"tmppool-{id_of(sent_on.key)}"
    cookie = sent_on.headers["Set-Cookie"]
    assert re.fullmatch(rf"{name}=[\w-]{{22}}; HttpOnly; Max-Age=14[34]\d\d; Path=/; SameSite=Lax", cookie)
    assert sent_on.headers["Cache-Control"] == "no-store"


async def test_without_a_longest_life_the_cookie_lasts_as_long_as_the_browser(open_place: Open) -> None:
    place = await open_place(cull_max=0)
    assert "Max-Age" not in (await place.person().click()).headers["Set-Cookie"]


async def test_a_browser_whose_cookie_was_lost_comes_back_by_its_launch_link(place: Place) -> None:
    person = place.person()
    key = await person.start()
    person.session.cookie_jar.clear(lambda morsel: morsel.key == f"tmppool-{id_of(key)}")
    again = await person.get("/lab")
    assert again.key == key
    address, page = await person.follow(again)
    assert (address, page.status) == (f"{place.origin(key)}/user/{key}/lab", 200)


async def test_where_the_visitor_is_known_the_address_is_enough_to_come_back(open_place: Open) -> None:
    place = await open_place()
    person = place.person()
    key = await person.start()
    person.session.cookie_jar.clear(lambda morsel: morsel.key == f"tmppool-{id_of(key)}")
    address, page = await person.follow(await person.get(f"/user/{key}/lab?x"))
    assert (address, page.status) == (f"{place.url}/user/{key}/lab?x", 200)


async def test_the_cookie_of_a_notebook_that_ended_is_taken_back(place: Place) -> None:
    person = place.person()
    key = await person.start()
    await person.ask("DELETE", f"/api/session/{key}", {"Sec-Fetch-Site": "same-origin"})
    gone = await person.get(f"/user/{key}/lab")
    assert gone.status == 410
    assert gone.headers["Set-Cookie"].startswith(f'tmppool-{id_of(key)}=""; ')
    assert "Max-Age=0" in gone.headers["Set-Cookie"]
    assert "Set-Cookie" not in (await person.get(f"/user/{key}/lab")).headers


# Programs


@pytest.mark.parametrize("carrier", ["token", "Bearer", "query"])
async def test_a_program_with_the_token_does_what_it_likes_wherever_it_runs(place: Place, carrier: str) -> None:
    key, token, _ = await taken(place)
    program = place.stranger()
    headers = {"Origin": "https://tool.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    query = f"?token={token}" if carrier == "query" else ""
    if carrier != "query":
        headers["Authorization"] = f"{carrier} {token}"
    assert (await program.ask("PUT", f"/user/{key}/x{query}", headers, data=b"y")).body == b"y"
    async with program.session.ws_connect(
        program.whole(f"/user/{key}/api/kernels/1/channels{query}"), headers=headers
    ) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"
    assert (await program.ask("GET", f"/api/session/{key}{query}", headers)).json["role"] == "owner"
    assert (await program.ask("POST", f"/api/session/{key}/extend{query}", headers)).status == 200


async def test_a_page_anywhere_reads_what_it_asked_for_with_the_token(place: Place) -> None:
    key, token, _ = await taken(place)
    page = place.stranger(Origin="https://tool.example", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors")
    for path in (f"/user/{key}/api/kernels", f"/api/session/{key}"):
        wanted = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "authorization"}
        asked = await page.ask("OPTIONS", path, wanted)
        assert (asked.status, asked.headers["Access-Control-Allow-Origin"]) == (204, "*")
        assert "DELETE" in asked.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in asked.headers
        assert "Access-Control-Allow-Private-Network" not in asked.headers
        near = await page.ask("OPTIONS", path, wanted | {"Access-Control-Request-Private-Network": "true"})
        assert near.headers["Access-Control-Allow-Private-Network"] == "true"
        for given in (await page.get(f"{path}?token={token}"), await page.get(path, Authorization=f"token {token}")):
            assert (given.status, given.headers["Access-Control-Allow-Origin"]) == (200, "*")
            assert given.headers.getall("Access-Control-Expose-Headers") == ["*"]
            assert "Access-Control-Allow-Credentials" not in given.headers
        refused = await page.get(path, Authorization="token wrong")
        assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (403, "*")
    assert [line for line in place.asked(key) if line.startswith("OPTIONS")] == []
    assert (await page.ask("OPTIONS", "/user/" + "x" * 22 + "/api", wanted)).status == 204
    assert (await page.ask("OPTIONS", f"/user/{key}/api", {"Authorization": f"token {token}"})).status == 200


async def test_no_page_reads_what_a_cookie_got(place: Place) -> None:
    person = place.person()
    key = await person.start()
    for path in (f"/user/{key}/api/kernels", f"/api/session/{key}"):
        own = await person.get(path, Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="cors")
        assert own.status == 200
        assert "Access-Control-Allow-Origin" not in own.headers


async def test_no_notebook_sees_the_token(place: Place) -> None:
    key, token, _ = await taken(place)
    await place.stranger().get(f"/user/{key}/a?b=1&token={token}&c=%2F")
    assert place.asked(key)[-1] == "GET a?b=1&c=%2F"
    await place.stranger().get(f"/user/{key}/a?token={token}")
    assert place.asked(key)[-1] == "GET a"
    await place.stranger().ask("GET", f"/user/{key}/a", {"Authorization": f"token {token}"})
    person = place.person()
    await person.follow(await person.get(f"/user/{key}/b?token={token}"))
    await person.ask("GET", f"/user/{key}/c", {"Cookie": "theirs=1"})
    assert "Cookie" not in place.notebook(key).headers[-1]
    assert token not in str(place.notebook(key).headers)
    assert token not in str(place.asked(key))


async def test_a_programs_url_is_whole_where_notebooks_have_hosts(place: Place) -> None:
    url = (await place.stranger().post("/api/spawn")).json["url"]
    if place.domain is None:
        assert re.fullmatch(r"/user/[\w-]{22}/", url)
    else:
        assert re.fullmatch(r"http://[0-9a-f]{10}\.nb\.localhost:\d+/user/[\w-]{22}/", url)


# A link with the session token


async def test_the_first_browser_that_opens_the_link_is_the_owner_and_the_next_is_refused(place: Place) -> None:
    key, token, link = await taken(place)
    first, second = place.person(), place.person()
    sent_on = await first.claim(link)
    assert sent_on.status == 303
    assert (sent_on.headers["Referrer-Policy"], sent_on.headers["Cache-Control"]) == ("no-referrer", "no-store")
    address, page = await first.follow(sent_on)
    assert (address, page.status) == (f"{place.origin(key)}/user/{key}/lab/tree/a.ipynb?x=1&y=%26", 200)
    for _ in range(2):
        refused = await second.claim(link)
        assert (refused.status, refused.title) == (403, "This notebook belongs to another browser")
        assert "Set-Cookie" not in refused.headers
    assert (await second.get(f"/user/{key}/lab")).status == 403
    program = place.stranger(Authorization=f"token {token}")
    assert (await program.get(f"/user/{key}/api/kernels")).status == 200
    again = await first.get(link)
    assert (again.status, again.location) == (303, f"/user/{key}/lab/tree/a.ipynb?x=1&y=%26")


@pytest.mark.parametrize("headers", [{"Sec-Purpose": "prefetch"}, {"Sec-Purpose": "prefetch;prerender"}, {"X-Moz": "prefetch"}, {"Purpose": "Prefetch"}, {"X-Purpose": "preview"}, {"User-Agent": "facebookexternalhit/1.1"}], ids=str)  # fmt: skip
async def test_a_browser_that_only_looks_ahead_is_not_the_owner(place: Place, headers: dict[str, str]) -> None:
    _, _, link = await taken(place)
    assert (await place.person().ask("GET", link, headers)).status == 503
    assert (await place.person().claim(link)).status == 303


async def test_a_head_request_makes_nobody_the_owner(place: Place) -> None:
    _, _, link = await taken(place)
    assert (await place.person().ask("HEAD", link)).status == 200
    assert (await place.person().claim(link)).status == 303


async def test_with_a_token_asked_for_by_the_api_the_link_works_the_same(open_place: Open) -> None:
    place = await open_place(api_auth_token="the-token-of-the-api")
    given = (await place.stranger(Authorization="token the-token-of-the-api").post("/api/spawn")).json
    link = f"{given['url']}lab?token={given['token']}"
    assert [(await place.person().claim(link)).status for _ in range(2)] == [303, 403]
    with_api_token = place.stranger(Authorization="token the-token-of-the-api")
    assert (await with_api_token.get(f"{given['url']}api/kernels")).status == 403


async def test_a_wrong_token_keeps_nobody_out_of_their_notebook(place: Place) -> None:
    person = place.person()
    key = await person.start()
    assert (await person.get(f"/user/{key}/lab?token=old&x")).status == 200
    assert place.asked(key)[-1] == "GET lab?x"


async def test_a_token_and_credentials_of_an_app_reach_it_and_jupyters_do_too(place: Place) -> None:
    person = place.person()
    key = await person.start()
    told = place.notebook(key).headers
    await person.get(f"/user/{key}/proxy/8050/?token=theirs&x=1", Authorization="Basic YTpi")
    assert place.asked(key)[-1] == "GET proxy/8050/?token=theirs&x=1"
    assert told[-1]["Authorization"] == "Basic YTpi"
    await person.get(f"/user/{key}/lab", Authorization="Basic YTpi")
    assert told[-1]["Authorization"] == f"token token-of-{key}"
    await person.get(f"/user/{key}/proxy/8050/")
    assert told[-1]["Authorization"] == f"token token-of-{key}"


# A host for each notebook


@pytest.fixture
async def apart(open_place: Open) -> Place:
    return await open_place(**MODES[1])


async def test_a_visitor_is_handed_to_the_notebooks_own_host_and_stays_there(apart: Place) -> None:
    person = apart.person()
    sent_on = await person.click("/lab/tree/a.ipynb?x=1")
    key = sent_on.key
    assert re.fullmatch(
        rf"http://{id_of(key)}\.nb\.localhost:\d+/user/{key}\?token=[\w.-]+&to=lab%2Ftree%2Fa\.ipynb%3Fx%3D1",
        sent_on.location,
    )
    assert id_of(key) not in str(sent_on.headers.getall("Set-Cookie"))
    address, page = await person.follow(sent_on)
    assert (address, page.status) == (f"{apart.origin(key)}/user/{key}/lab/tree/a.ipynb?x=1", 200)


async def test_a_handoff_is_good_once_for_one_notebook_and_soon(apart: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    person, thief = apart.person(), apart.person()
    one = await person.click()
    ticket = one.location.partition("token=")[2].partition("&")[0]
    other = await thief.start()
    assert (await apart.person().get(f"/user/{other}/lab?token={ticket}")).status == 403
    assert (await person.get(one.location)).status == 303
    assert (await apart.person().get(one.location)).status == 403
    late = (await apart.person().click()).location
    assert (await apart.stranger().get(late)).status == 403  # for browsers only, and not used up by that
    monkeypatch.setattr(apart.entrances[0]._handoffs, "_lifetime", -1)
    assert (await apart.person().get(late)).status == 403
    assert enter.HANDOFF_LIFETIME <= 60


async def test_a_notebook_is_not_served_at_the_main_host(apart: Place) -> None:
    person = apart.person()
    key = await person.start()
    seen = len(apart.asked(key))
    token = f"token {session_token(apart.held(key))}"
    for method in ("GET", "POST", "OPTIONS"):
        answer = await apart.stranger().ask(method, f"{apart.url}/user/{key}/api", {"Authorization": token})
        assert answer.status == 421
    assert (await apart.person().get(f"{apart.url}/user/{key}/lab")).status == 421
    sent_on = await person.get(f"{apart.url}/user/{key}/lab?x")
    assert sent_on.location.startswith(f"http://{id_of(key)}.nb.localhost")
    with pytest.raises(WSServerHandshakeError) as refused:
        await person.session.ws_connect(
            f"{apart.url}/user/{key}/api/kernels/1/channels", headers={"Authorization": token}
        )
    assert refused.value.status == 421
    assert len(apart.asked(key)) == seen


async def test_behind_tls_the_cookie_is_bound_to_the_host_and_the_scheme_is_kept(open_place: Open) -> None:
    place = await open_place(public_url="https://try.example", domain_per_notebook="nb.example")
    person = place.stranger(Accept="text/html", Host="inside:1")
    page = await person.get("/")
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    fields = page.form()
    answer = await person.post(fields.pop("action"), fields, Cookie=cookie, Origin="https://try.example")
    found = re.fullmatch(r"https://([0-9a-f]{10})\.nb\.example(/user/([\w-]{22})\?token=.*&to=tree)", answer.location)
    assert found is not None
    here = {"Host": f"{found[1]}.nb.example"}
    entered = await person.ask("GET", found[2], here)
    assert entered.status == 303
    assert re.match(rf"__Host-Http-tmppool-{found[1]}=[\w-]{{22}}; .*; Secure$", entered.headers["Set-Cookie"])
    own = {**here, "Cookie": entered.headers["Set-Cookie"].partition(";")[0]}
    assert (await person.ask("GET", f"/user/{found[3]}/tree", own)).status == 200
    for origin, status in ((f"https://{found[1]}.nb.example", 200), ("https://try.example", 403)):
        assert (await person.ask("PUT", f"/user/{found[3]}/x", {**own, "Origin": origin}, data=b"x")).status == status
    assert (await person.ask("GET", "/lab", here)).location == "https://try.example/lab"


async def test_a_guests_tunnel_is_closed_with_the_notebook_too(place: Place) -> None:
    owner, guest = place.person(), place.person()
    key = await owner.start()
    url = (await owner.ask("POST", f"/api/session/{key}/share", {"Sec-Fetch-Site": "same-origin"})).json["url"]
    await guest.follow(await guest.get(url))
    async with guest.session.ws_connect(guest.whole(f"/user/{key}/api/kernels/1/channels")) as socket:
        await owner.ask("DELETE", f"/api/session/{key}", {"Sec-Fetch-Site": "same-origin"})
        assert (await socket.receive(PATIENCE)).type.name in ("CLOSE", "CLOSED", "ERROR")
    await eventually(lambda: key not in place.backend.notebooks)


async def test_an_owner_whose_browser_holds_hundreds_that_look_like_ours_is_let_in(place: Place) -> None:
    """A page in a notebook can set as many as two jars hold, in names and values that are like ours."""
    person = place.person()
    key = await person.start("/lab")
    mine = "; ".join(f"{name}={value}" for name, value in person.cookies().items())
    tossed = "; ".join(f"tmppool-{number:010}={'x' * 32}" for number in range(350))
    other = place.person(Cookie=f"{tossed}; {mine}")
    assert (await other.get(f"/user/{key}/lab")).status == 200
    assert f"/user/{key}" in (await other.get("/")).location
    assert (await other.get(f"/session/{key}")).status == 200


async def test_what_a_dead_address_costs_does_not_grow_with_the_jar(place: Place) -> None:
    person = place.person(Cookie="a=b;" * 4000)

    async def cost(path: str) -> float:
        began = time.process_time()
        for _ in range(20):
            assert (await person.get(path)).status == 404
        return time.process_time() - began

    await cost("/user/" + "x" * 22 + "/lab")
    assert await cost("/user/" + "x" * 22 + "/lab") < 4 * await cost("/nowhere") + 0.05


async def test_of_many_tokens_the_first_few_are_looked_at(place: Place) -> None:
    taken = (await place.program().post("/api/spawn")).json
    assert (
        await place.stranger().get(f"{taken['url']}api?" + "token=a&" * 7 + f"token={taken['token']}")
    ).status == 200
    assert (
        await place.stranger().get(f"{taken['url']}api?" + "token=a&" * 8 + f"token={taken['token']}")
    ).status == 403


async def test_a_guest_who_was_judged_before_the_sharing_ended_gets_a_cookie_that_opens_nothing(
    open_place: Any,
) -> None:
    place = await open_place()
    key = await place.person().start()
    (notebook,) = (each for each in place.pools.default if each.key == key)
    notebook.share("once")
    shared = str(tokens.share_token(notebook))
    entry = judge(visit(f"/user/{key}/lab?token={shared}", {"Sec-Fetch-Mode": "navigate"}), place.pools, Rules())
    assert isinstance(entry, Enter)
    notebook.share(None)
    response = await place.entrances[0].enter(visit("/"), entry)
    (morsel,) = response.cookies.values()
    assert morsel.value == shared != tokens.session_token(notebook)
    assert tokens.access(notebook, [f"{morsel.key}={morsel.value}".encode()], is_secure=False).role is None
