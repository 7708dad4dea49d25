"""Which host is a notebook's own, and which is this machine's."""

import asyncio
from typing import Any

import pytest

from tests.web.guests import MODES, Place
from tmppool import jupyter_urls
from tmppool.keys import id_of
from tmppool.notebook import Reason
from tmppool.pool_settings import PoolSettings
from tmppool.pools import Ended
from tmppool.web.hosts import host_of, is_origin, is_same_origin, is_this_machine, label_of, with_port_of


@pytest.mark.parametrize(
    ("host", "base", "label"),
    [
        ("abc.nb.example", "nb.example", "abc"),
        ("ABC.NB.Example", "nb.example", "abc"),
        ("abc.nb.example:8443", "nb.example", "abc"),
        ("a.b.nb.example", "nb.example", "a.b"),
        (".nb.example", "nb.example", ""),
        ("abc.nb.localhost:8000", "nb.localhost:8000", "abc"),
        ("abc.nb.localhost:8001", "nb.localhost:8000", None),
        ("abc.nb.localhost", "nb.localhost:8000", None),
        ("nb.example", "nb.example", None),
        ("xnb.example", "nb.example", None),
        ("abc.nb.example.evil", "nb.example", None),
        ("abc.nb.example.", "nb.example", None),
        ("[::1]:8000", "nb.example", None),
        ("", "nb.example", None),
    ],
)
def test_what_stands_before_the_domain_is_a_notebooks_id(host: str, base: str, label: str | None) -> None:
    assert label_of(host, base) == label


def test_a_host_that_is_made_is_read_again() -> None:
    assert label_of(host_of("0a1b2c3d4e", "nb.example:81"), "nb.example:81") == "0a1b2c3d4e"


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        *((host, True) for host in ("localhost", "LOCALHOST:8000", "a.localhost", "a.b.LocalHost:1", "127.0.0.1", "127.9.8.7:65535", "[::1]", "[::1]:80", "[::ffff:127.0.0.1]:8000")),
        *((host, False) for host in ("", ":8000", "localhost.", "localhost:", "localhost:123456", "alocalhost", "localhost.example", "127.0.0.1.example", "127.1", "0.0.0.0", "[::]", "::1", "[::1", "[localhost]x", "192.0.2.1", "evil@localhost", "evil#localhost", "evil/.localhost/", "a b", "\xff")),
    ],
)  # fmt: skip
def test_what_names_this_machine(host: str, is_ours: bool) -> None:  # noqa: FBT001
    assert is_this_machine(host) is is_ours


@pytest.mark.parametrize(("host", "ip", "is_ours"), [("192.0.2.1:80", "192.0.2.1", True), ("192.0.2.2", "192.0.2.1", False), ("[2001:DB8::1]", "2001:db8::1", True), ("", "", False)])  # fmt: skip
def test_the_address_that_is_listened_on_names_it_too(host: str, ip: str, is_ours: bool) -> None:  # noqa: FBT001
    assert is_this_machine(host, ip) is is_ours


# Whose page it is

SAME = {
    "as it is": ("http://nb.example", "http", "nb.example"),
    "both with the port": ("http://nb.example:8000", "http", "nb.example:8000"),
    "https on another port": ("https://nb.example:8443", "https", "nb.example:8443"),
    "the Host has the default port": ("https://nb.example", "https", "nb.example:443"),
    "and nobody told of TLS": ("https://nb.example", "http", "nb.example:443"),
    "nobody told of TLS": ("https://nb.example", "http", "nb.example"),
    "nobody told of TLS, another port": ("https://nb.example:8443", "http", "nb.example:8443"),
    "the port behind TLS": ("https://nb.example", "http", "nb.example:80"),
    "the port behind TLS that was told of": ("https://nb.example", "https", "nb.example:80"),
    "the Origin has the default port": ("https://nb.example:443", "https", "nb.example"),
    "both have it": ("http://nb.example:80", "http", "nb.example:80"),
    "http on 443": ("http://nb.example:443", "http", "nb.example:443"),
    "capitals": ("HTTPS://NB.Example", "https", "nB.eXAMPLE:443"),
    "IPv6": ("https://[2001:db8::5]", "https", "[2001:db8::5]:443"),
    "IPv6, spelled at length": ("https://[2001:db8::5]:8443", "https", "[2001:DB8:0:0::0005]:8443"),
    "the dot of the root": ("https://nb.example", "https", "nb.example."),
    "which a proxy took away": ("https://nb.example.:8443", "https", "nb.example:8443"),
}
OTHER = {
    "another host": ("https://evil.example", "https", "nb.example"),
    "another port": ("https://nb.example:8444", "https", "nb.example:8443"),
    "a port that was lost": ("https://nb.example:8443", "https", "nb.example"),
    "no port where there is one": ("https://nb.example", "https", "nb.example:8443"),
    "plain http on the other port": ("http://nb.example", "http", "nb.example:8000"),
    "http where it is https": ("http://nb.example", "https", "nb.example"),
    "http on 443 where it is https": ("http://nb.example:443", "https", "nb.example:443"),
    "https on 80": ("https://nb.example:80", "https", "nb.example"),
    "a longer name": ("https://nb.example.evil", "https", "nb.example"),
    "a name that ends alike": ("https://evilnb.example", "https", "nb.example"),
    "two dots": ("https://nb.example..", "https", "nb.example"),
    "a user": ("https://nb.example@evil.example", "https", "nb.example"),
    "a user's name like ours": ("https://evil.example@nb.example", "https", "nb.example"),
    "a path": ("https://nb.example/", "https", "nb.example"),
    "null": ("null", "https", "null"),
    "another scheme": ("ftp://nb.example", "ftp", "nb.example"),
    "nothing": ("", "http", ""),
    "no host": ("http://", "http", ""),
    "no name": ("http://:80", "http", ":80"),
    "a line more": ("https://nb.example\n", "https", "nb.example"),
    "a letter that is one in lower case": ("https://nb.e\u212aample", "https", "nb.ekample"),
}


@pytest.mark.parametrize(("origin", "scheme", "host"), SAME.values(), ids=SAME.keys())
def test_a_page_of_this_origin_is_known_behind_any_proxy(origin: str, scheme: str, host: str) -> None:
    assert is_same_origin(origin, scheme, host)


@pytest.mark.parametrize(("origin", "scheme", "host"), OTHER.values(), ids=OTHER.keys())
def test_a_page_of_another_origin_is_none_of_this_one(origin: str, scheme: str, host: str) -> None:
    assert not is_same_origin(origin, scheme, host)
    assert not is_same_origin(origin, scheme, host, is_certain=True)


def test_where_the_scheme_is_certain_no_other_is_meant() -> None:
    assert is_same_origin("https://nb.example", "https", "nb.example:443", is_certain=True)
    assert not is_same_origin("https://nb.example", "http", "nb.example", is_certain=True)


@pytest.mark.parametrize(("text", "is_one"), [("https://nb.example:8443", True), ("http://[::1]", True), ("null", False), ("https://u:p@h", False), ("https://h/user/x", False), ("https://h\x9b", False), ("", False)])  # fmt: skip
def test_an_origin_has_no_path_and_no_user(text: str, is_one: bool) -> None:  # noqa: FBT001
    assert is_origin(text) is is_one


@pytest.mark.parametrize(
    ("host", "base", "whole"),
    [
        ("abc.nb.example", "nb.example:8443", "abc.nb.example:8443"),
        ("abc.nb.example:1", "nb.example:8443", "abc.nb.example:1"),
        ("abc.nb.example", "nb.example", "abc.nb.example"),
        ("[::1]", "nb.example:8443", "[::1]:8443"),
    ],
)
def test_a_port_that_a_proxy_took_away_is_that_of_the_domain(host: str, base: str, whole: str) -> None:
    assert with_port_of(host, base) == whole


# At a host of its own


@pytest.fixture
async def place(open_place: Any) -> Place:
    return await open_place(**MODES[1])


@pytest.fixture
async def key(place: Place) -> str:
    return await place.person().start()


OTHERS = ["/api/spawn", "/api/stats", "/stats", "/health", "/nothing", "/api/notebooks", "/metrics", "/user/short/x"]


async def test_at_a_notebooks_host_there_is_nothing_but_the_notebook(place: Place, key: str) -> None:
    for path in OTHERS:
        for method in ("GET", "POST", "DELETE"):
            assert (await place.stranger().ask(method, place.origin(key) + path)).status == 404, path
    assert (await place.stats())["assigned"] == 1
    for path in ("/static/session.js", "/static/style.css", "/robots.txt"):
        assert (await place.stranger().get(place.origin(key) + path)).status == 200


async def test_a_request_for_no_path_is_not_there_either(place: Place, key: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(place.url.rpartition(":")[2]))
    host = place.origin(key).partition("//")[2]
    writer.write(f"OPTIONS * HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert (await reader.read()).split()[1] in (b"400", b"404", b"405")
    writer.close()


async def test_at_a_notebooks_host_no_other_notebook_is_there(place: Place, key: str) -> None:
    person = place.person()
    other = await person.start()
    program = place.stranger()
    await program.post("/api/spawn")
    for path in (
        f"/user/{other}/api",
        f"/api/session/{other}",
        f"/session/{other}",
        f"/api/session/{other}/share",
        f"/user/{other}",
    ):
        for method in ("GET", "POST", "DELETE"):
            answer = await person.ask(method, place.origin(key) + path, {"Sec-Fetch-Site": "same-origin"})
            assert answer.status == 404, path
    assert (await program.get(f"/api/session/{other}")).status == 403
    assert place.asked(other)[-1] == "GET tree"


@pytest.mark.parametrize("path", ["/", "/spawn", "/lab/tree/a%20b.ipynb?x=1&pool=tmppool", *(f"/{prefix}" for prefix in jupyter_urls.DEEP_LINKS)])  # fmt: skip
async def test_a_launch_link_at_a_notebooks_host_leads_to_the_main_one(place: Place, key: str, path: str) -> None:
    answer = await place.person().get(place.origin(key) + path)
    assert (answer.status, answer.location) == (303, place.url + path)
    assert (await place.person().post(place.origin(key) + path, {})).status == 404


@pytest.mark.parametrize("path", ["/user/" + "x" * 22 + "/lab", "/session/" + "x" * 22, "/anything"])
async def test_a_host_of_no_notebook_says_so(place: Place, path: str) -> None:
    page = await place.person().get(f"http://0123456789.{place.domain}{path}")
    assert page.status == 404
    assert page.title == "Notebook not found"
    assert f'href="{place.url}/' in page.text
    assert (await place.stranger().get(f"http://0123456789.{place.domain}{path}")).status == 424


@pytest.mark.parametrize("path", ["/lab/tree/a.ipynb?x=1", "/hub", "/hub/", "/hub/home", "/hub/spawn?next=%2Fhub%2Fhome", "/hub/spawn?next=/lab/tree/b.ipynb"])  # fmt: skip
async def test_links_in_a_notebooks_page_lead_to_the_main_host_also_after_its_end(place: Place, path: str) -> None:
    person = place.person()
    key = await person.start()
    for _ in range(2):
        answer = await person.get(place.origin(key) + path)
        assert (answer.status, answer.location) == (303, place.url + path)
        await person.ask("DELETE", f"/api/session/{key}", {"Sec-Fetch-Site": "same-origin"})
    assert (await person.post(place.origin(key) + path, {})).status == 404


async def test_restart_in_a_notebooks_page_opens_its_document_anew(open_place: Any) -> None:
    place: Place = await open_place(pools={"r": PoolSettings(pool_size=1)}, **MODES[1])
    person = place.person()
    key = await person.start("/lab?pool=r")
    page = f"{place.origin(key)}/user/{key}/lab/tree/a%20b.ipynb?x=1"
    link = f"{place.origin(key)}/hub/spawn?next=%2Fhub%2Fhome"
    assert (await person.get(link, Referer=page)).location == f"{place.url}/lab/tree/a%20b.ipynb?x=1"
    place.pools.remember(key, Ended(Reason.IDLE, 0.0, "r"))
    assert (await person.get(link, Referer=page)).location == f"{place.url}/lab/tree/a%20b.ipynb?x=1&pool=r"
    for other in (f"{place.url}/user/{key}/lab", f"https://elsewhere.example/user/{key}/lab", "nonsense"):
        assert (await person.get(link, Referer=other)).location == f"{place.url}/hub/spawn?next=%2Fhub%2Fhome"
    named = f"{place.origin(key)}/hub/spawn?next=/v2/bb/x"
    assert (await person.get(named, Referer=page)).location == f"{place.url}/hub/spawn?next=/v2/bb/x"


async def test_restart_keeps_the_workshop_code_that_the_link_names(open_place: Any) -> None:
    place: Place = await open_place(workshop_code="monday", **MODES[1])
    person = place.person()
    key = await person.start()
    page = f"{place.origin(key)}/user/{key}/lab/tree/a.ipynb"
    answer = await person.get(f"{place.origin(key)}/hub/spawn?code=mon%26day", Referer=page)
    assert answer.location == f"{place.url}/lab/tree/a.ipynb?code=mon%26day"
    assert (await person.get(answer.location)).location == "/lab/tree/a.ipynb"  # a cookie has it from here on


@pytest.mark.parametrize("mode", MODES)
async def test_restart_needs_no_workshop_code_again(open_place: Any, mode: dict[str, str]) -> None:
    place: Place = await open_place(pool_size=4, starts_per_hour=1, workshop_code="monday", **mode)
    assert (await place.person().click()).status == 303
    person = place.person()
    key = await person.start("/lab?code=monday")
    await person.ask("DELETE", f"/api/session/{key}", {"Sec-Fetch-Site": "same-origin"})
    page = f"{place.origin(key)}/user/{key}/lab/tree/a.ipynb"
    address, launch = await person.follow(await person.get(f"{place.origin(key)}/hub/spawn", Referer=page))
    assert address == f"{place.url}/lab/tree/a.ipynb"
    assert (await person.press(launch)).status == 303


async def test_a_notebook_that_ended_says_why_at_its_own_host(place: Place) -> None:
    person = place.person()
    key = await person.start()
    await person.ask("DELETE", f"/api/session/{key}", {"Sec-Fetch-Site": "same-origin"})
    page = await person.get(f"/user/{key}/lab/tree/a.ipynb")
    assert (page.status, f'href="{place.url}/lab/tree/a.ipynb"' in page.text) == (410, True)
    assert (await place.stranger().get(f"/user/{key}/api")).json["fresh_url"] == f"{place.url}/"


async def test_case_does_not_matter_in_a_host(place: Place, key: str) -> None:
    token = (await place.stranger().post("/api/spawn")).json["token"]
    taken = next(notebook.key for notebook in place.pools.default if notebook.is_live and notebook.key != key)
    headers = {"Host": f"{id_of(taken)}.NB.LocalHost:{place.port}".upper(), "Authorization": f"token {token}"}
    assert (await place.stranger().ask("GET", f"{place.url}/user/{taken}/api", headers)).status == 200


async def test_a_trusted_proxy_says_which_host_it_was(open_place: Any) -> None:
    place = await open_place(trusted_proxies=("127.0.0.1",), domain_per_notebook="nb.example")
    given = (await place.stranger().post("/api/spawn")).json
    key = given["url"].split("/")[4]
    said = {"Authorization": f"token {given['token']}", "X-Forwarded-Proto": "https"}
    for host, status in ((f"{id_of(key)}.nb.example", 200), ("nb.example", 421), ("0123456789.nb.example", 424)):
        assert (
            await place.stranger().ask("GET", f"/user/{key}/api", {**said, "X-Forwarded-Host": host})
        ).status == status


async def test_without_a_domain_every_host_is_the_same(open_place: Any) -> None:
    place = await open_place()
    person = place.person()
    for host in ("x.nb.example", "localhost"):
        assert (await person.ask("GET", "/", {"Host": host})).status == 200


async def test_the_form_of_the_launch_page_may_lead_to_the_notebooks_hosts(place: Place) -> None:
    page = await place.person().get("/")
    assert f"form-action 'self' *.{place.domain};" in page.headers["Content-Security-Policy"]
