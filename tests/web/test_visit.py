"""The facts of one request: where it goes, who sent it, from which page, and what it carries."""

import pytest

from tests.web.heads import PEER, visit
from tmppool.proxy.forwarded import Client, networks
from tmppool.proxy.wire import Fields, parse_request
from tmppool.web.embedding import Embedding
from tmppool.web.own_cookies import new_visitor, visitor_id
from tmppool.web.visit import Origin, PublicAddress, Visit

KEY = "0123456789abcdefghijk_"

# Where it goes

TARGETS = {
    f"/user/{KEY}/": ("", ""),
    f"/user/{KEY}/tree": ("tree", ""),
    f"/user/{KEY}/a%2Fb//c;d?x=1?y": ("a%2Fb//c;d", "?x=1?y"),
    f"/user/{KEY}/?": ("", "?"),
    f"/user/{KEY}": (None, ""),
    f"/user/{KEY}?x": (None, "?x"),
    f"/user/cell-1.{KEY}/tree": ("tree", ""),
}


@pytest.mark.parametrize(("target", "found"), TARGETS.items(), ids=TARGETS.keys())
def test_a_notebooks_address_is_read(target: str, found: tuple[str | None, str]) -> None:
    made = visit(target)
    assert made.key is not None
    assert made.key.removeprefix("cell-1.") == KEY
    assert (made.path, made.query) == found


@pytest.mark.parametrize(
    "target",
    [
        "/user/", "/user/short/", f"/user/{KEY}%2F", f"/user/%30{KEY}/", f"/USER/{KEY}/", f"/user/{KEY}..x/", f"/user/a.b.{KEY}/",
        f"/user/{KEY};x/", f"/x/user/{KEY}/", f"/user/{'x' * 129}/", f"/%75ser/{KEY}/", "/", "/sessions/x", f"/session/{KEY}x;/", f"/api/sessions/{KEY}",
    ],
)  # fmt: skip
def test_what_is_no_notebooks_address_is_none(target: str) -> None:
    assert (visit(target).key, visit(target).path) == (None, None)


@pytest.mark.parametrize("target", [f"/session/{KEY}", f"/api/session/{KEY}/share", f"/s%65ssion/{KEY}", f"/session/{KEY}?x=/user/y"])  # fmt: skip
def test_a_sessions_address_names_its_notebook_however_it_is_spelled(target: str) -> None:
    assert (visit(target).key, visit(target).path) == (KEY, None)


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("/api/%73pawn?x=%41", "/api/spawn"),
        ("/lab/tree/a%2Fb%20c", "/lab/tree/a%2Fb c"),
        ("/%25", "/%25"),
        ("/", "/"),
        ("/?x", "/"),
    ],
)
def test_an_address_is_what_the_router_reads(target: str, address: str) -> None:
    assert visit(target).routed_path == address


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (f"/user/{KEY}/lab/tree/a%20b.ipynb?x=1&token=t", "lab/tree/a%20b.ipynb?x=1"),
        (f"/user/{KEY}", ""),
        (f"/session/{KEY}?path=lab%2Ftree%2Fa%20b.ipynb", "lab/tree/a%20b.ipynb"),
        (f"/session/{KEY}?path=//evil.example/x", "evil.example/x"),
        (f"/session/{KEY}?path=" + "|" * 3000, ""),
        (f"/session/{KEY}?path=..%2f..%2fspawn", ""),
        (f"/session/{KEY}?path=lab/../../x", ""),
        (f"/session/{KEY}?path=lab/%252e%252E", ""),
        (f"/session/{KEY}?path=%2F%5Cevil.example", "%5Cevil.example"),
        (f"/session/{KEY}?path=%5C%2F..%2Fevil.example", ""),
        (
            f"/session/{KEY}?path=lab%2Ftree%2Fa%255Cb%23%3F%26%2B%0A%F0%9F%90%8D",
            "lab/tree/a%5Cb%23%3F&+%0A%F0%9F%90%8D",
        ),
        (f"/session/{KEY}?path=lab%2500", ""),
        (f"/session/{KEY}?xpath=y", ""),
        ("/", ""),
    ],
)
def test_what_is_open_below_the_notebook_is_read_of_the_path_or_as_it_is_said(target: str, path: str) -> None:
    assert visit(target).open_path == path


def test_a_query_of_however_many_parts_is_read() -> None:
    assert visit(f"/session/{KEY}?" + "&" * 3000 + "path=x").open_path == "x"
    assert visit(f"/session/{KEY}?" + "a=b&" * 1500 + "path=x").open_path == "x"


DOMAIN = PublicAddress(domain="nb.example")


def test_with_a_domain_the_host_names_the_notebook_and_the_launch_pages_are_elsewhere() -> None:
    apart = visit("/", {"Host": "ABC.nb.example"}, public=DOMAIN)
    assert (apart.label, apart.main_origin) == ("abc", "http://nb.example")
    assert apart.origin_of("xyz") == "http://xyz.nb.example"
    main = visit("/", public=DOMAIN)
    assert (main.label, main.main_origin, main.origin_of("xyz")) == (None, "", "http://xyz.nb.example")
    plain = visit("/", {"Host": "abc.nb.example"})
    assert (plain.label, plain.main_origin, plain.origin_of("xyz")) == (None, "", "http://abc.nb.example")


def test_with_a_public_url_the_launch_pages_are_there() -> None:
    public = PublicAddress(public_url="https://nb.example", domain="nb.example")
    apart = visit("/", {"Host": "abc.nb.example"}, public=public)
    assert (apart.label, apart.main_origin, apart.origin_of("xyz")) == (
        "abc",
        "https://nb.example",
        "https://xyz.nb.example",
    )


# Who sent it


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
    assert visit("/", {"Host": "inside:8000"}, public=PublicAddress(public_url=url)).client == client


def test_only_a_trusted_proxy_says_how_a_visitor_came() -> None:
    said = {
        "Host": "inside",
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "nb.example",
    }
    assert visit("/", said).client == Client(PEER, "http", "inside")
    assert visit("/", said, public=PublicAddress(trusted=networks([PEER]))).client == Client(
        "1.2.3.4", "https", "nb.example"
    )


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("", "nb.example:8443"),
        ("https://nb.example:8443", "nb.example:8443"),
        ("https://nb.example", "nb.example"),
        ("https://evil.example", "nb.example:8443"),
        ("https://nb.example:1", "nb.example:8443"),
    ],
)
def test_a_port_that_the_proxy_tells_apart_may_be_its_own(origin: str, host: str) -> None:
    """A container's port 8443 may be 443 outside: what the page says tells, if it is one of the two."""
    said = {"Host": "nb.example", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "8443"} | (
        {"Origin": origin} if origin else {}
    )
    found = visit("/", said, method="POST", public=PublicAddress(trusted=networks([PEER])))
    assert found.client.host == host
    assert found.names_other_origin == (origin.endswith(("evil.example", ":1")))


def test_a_visitor_is_a_digest_of_their_cookie() -> None:
    cookie, visitor = new_visitor()
    assert visit("/", {"Cookie": f"a=b; tmppool={cookie}"}).visitor == visitor == visitor_id(cookie)
    assert cookie not in visitor


@pytest.mark.parametrize(
    "cookie", ["", "tmppool=", "tmppool=short", "other=" + "x" * 22, "__Host-Http-tmppool=" + "x" * 22]
)
def test_without_our_cookie_there_is_no_visitor(cookie: str) -> None:
    assert visit("/", {"Cookie": cookie}).visitor is None


@pytest.mark.parametrize(
    "cookies", ["\u00a0tmppool={evil}; tmppool={good}", 'a="b; tmppool={good}; c"; \u00a0tmppool={evil}']
)
def test_a_page_cannot_put_a_visitor_into_anothers_place_with_a_name_that_looks_like_ours(cookies: str) -> None:
    found = visit("/", {"Cookie": cookies.format(good="g" * 22, evil="e" * 22)})
    assert found.visitor == visitor_id("g" * 22)


def test_with_tls_only_the_cookie_that_is_bound_to_the_host_counts() -> None:
    public = PublicAddress(public_url="https://nb.example")
    assert visit("/", {"Cookie": "tmppool=" + "x" * 22}, public=public).visitor is None
    assert visit("/", {"Cookie": "__Host-Http-tmppool=" + "x" * 22}, public=public).visitor is not None


def test_a_prefetch_and_a_crawler_are_known_by_what_they_say() -> None:
    assert visit("/", {"Sec-Purpose": "prefetch;prerender"}).is_prefetch
    assert visit("/", {"User-Agent": "Googlebot/2.1"}).is_crawler
    assert not visit().is_prefetch
    assert not visit("/", {"User-Agent": "Mozilla/5.0 Firefox/140.0"}).is_crawler


# From which page, and for whom

ORIGINS: dict[str, tuple[dict[str, str], Origin]] = {
    "nothing said": ({}, Origin.SAME),
    "same origin": ({"Sec-Fetch-Site": "same-origin"}, Origin.SAME),
    "typed in": ({"Sec-Fetch-Site": "none"}, Origin.SAME),
    "same site": ({"Sec-Fetch-Site": "same-site"}, Origin.FOREIGN),
    "cross site": ({"Sec-Fetch-Site": "cross-site"}, Origin.FOREIGN),
    "an unknown word": ({"Sec-Fetch-Site": "anything"}, Origin.FOREIGN),
    "an empty word": ({"Sec-Fetch-Site": ""}, Origin.FOREIGN),
    "metadata before origin": ({"Sec-Fetch-Site": "cross-site", "Origin": "http://nb.example"}, Origin.FOREIGN),
    "own origin": ({"Origin": "http://nb.example"}, Origin.SAME),
    "own origin in capitals": ({"Origin": "http://NB.Example"}, Origin.SAME),
    "own host by https": ({"Origin": "https://nb.example"}, Origin.SAME),
    "null": ({"Origin": "null"}, Origin.FOREIGN),
    "empty": ({"Origin": ""}, Origin.FOREIGN),
    "another port": ({"Origin": "http://nb.example:81"}, Origin.FOREIGN),
    "another host": ({"Origin": "http://evil.example"}, Origin.FOREIGN),
    "a host that begins alike": ({"Origin": "http://nb.example.evil"}, Origin.FOREIGN),
    "a host that ends alike": ({"Origin": "http://evilnb.example"}, Origin.FOREIGN),
    "a user name": ({"Origin": "http://nb.example@evil.example"}, Origin.FOREIGN),
}


@pytest.mark.parametrize(("fields", "origin"), ORIGINS.values(), ids=ORIGINS.keys())
def test_a_page_elsewhere_is_told_apart(fields: dict[str, str], origin: Origin) -> None:
    assert visit("/", fields).origin is origin


@pytest.mark.parametrize(
    ("friend", "fields", "origin"),
    [
        ("https://a.example", {"Origin": "https://a.example", "Sec-Fetch-Site": "cross-site"}, Origin.FRIEND),
        ("https://a.example", {"Origin": "https://a.example"}, Origin.FRIEND),
        ("https://a.example", {"Origin": "http://a.example"}, Origin.FOREIGN),
        ("https://a.example", {"Sec-Fetch-Site": "cross-site"}, Origin.FOREIGN),
        ("*", {"Sec-Fetch-Site": "cross-site"}, Origin.FRIEND),
        ("*", {"Origin": "null"}, Origin.FRIEND),
        ("*", {}, Origin.SAME),
    ],
)
def test_a_page_that_the_settings_allow_is_a_friend(friend: str, fields: dict[str, str], origin: Origin) -> None:
    assert visit("/", fields, public=PublicAddress(embedding=Embedding(filter(None, [friend])))).origin is origin


def test_a_page_that_may_call_the_api_is_no_friend_unless_listed() -> None:
    listed, callers = Embedding(["https://a.example"]), Embedding(["*"])
    public = PublicAddress(embedding=listed, callers=callers)
    assert visit("/", {"Origin": "https://a.example"}, public=public).origin is Origin.FRIEND
    assert visit("/", {"Origin": "https://b.example"}, public=public).origin is Origin.CALLER
    alone = visit(
        "/", {"Origin": "https://b.example", "Sec-Fetch-Dest": "iframe"}, public=PublicAddress(callers=callers)
    )
    assert (alone.may_use_api, alone.is_embedded) == (True, False)


@pytest.mark.parametrize(
    ("method", "fields", "is_elsewheres"),
    [
        ("GET", {}, False),
        ("GET", {"Origin": "https://evil.example"}, False),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, False),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, True),
        ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, True),
        ("GET", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, False),
        ("PUT", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, True),
        ("POST", {"Origin": "https://evil.example"}, True),
        ("PUT", {}, False),
    ],
)
def test_a_link_may_be_followed_and_nothing_else_comes_from_elsewhere(
    method: str,
    fields: dict[str, str],
    is_elsewheres: bool,  # noqa: FBT001
) -> None:
    assert visit("/", fields, method=method).is_cross_site is is_elsewheres


def test_a_websocket_is_no_link() -> None:
    upgrade = {"Connection": "upgrade", "Upgrade": "websocket", "Origin": "https://evil.example"}
    assert visit("/", upgrade).is_cross_site
    assert not visit("/", {**upgrade, "Origin": "http://nb.example"}).is_cross_site


@pytest.mark.parametrize(
    ("method", "fields", "wants_page"),
    [
        ("GET", {"Accept": "text/html,*/*"}, True),
        ("GET", {"Accept": "*/*"}, False),
        ("GET", {}, False),
        ("GET", {"Accept": "text/html, */*; q=0.01", "X-Requested-With": "XMLHttpRequest"}, False),
        ("GET", {"Accept": "text/html", "Sec-Fetch-Mode": "cors"}, False),
        ("GET", {"Sec-Fetch-Mode": "navigate"}, True),
        ("POST", {"Accept": "text/html"}, True),
        ("DELETE", {"Accept": "text/html"}, False),
        ("GET", {"Accept": "text/html", "Upgrade": "websocket"}, False),
        ("GET", {"Sec-Fetch-Mode": "navigate", "Upgrade": "h2c"}, False),
    ],
)
def test_a_person_gets_a_page_and_a_program_json(method: str, fields: dict[str, str], wants_page: bool) -> None:  # noqa: FBT001
    assert visit("/", fields, method=method).wants_page is wants_page


# What it carries


def test_tokens_and_cookies_are_found() -> None:
    made = visit(f"/user/{KEY}/x?token=a&token=b", {"Cookie": "a=b", "Authorization": "Bearer  c "})
    assert made.tokens == ["a", "b"]
    assert [value.strip() for value in made.cookies] == [b"a=b"]
    assert made.bearer_token == b"c"
    assert (visit().tokens, visit().cookies, visit().bearer_token) == ([], [], b"")


def test_no_fact_is_worked_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def client(_names: PublicAddress, peer: str, _fields: Fields) -> Client:
        asked.append(peer)
        return Client(peer, "http", "x.nb.example")

    monkeypatch.setattr(PublicAddress, "client", client)
    made = Visit(visit().request, PEER, PublicAddress(domain="nb.example"))
    for _ in range(3):
        assert (made.label, made.client.host, made.origin, made.is_secure) == ("x", "x.nb.example", Origin.SAME, False)
    assert asked == [PEER]


@pytest.mark.parametrize(
    "said", ["X-Forwarded-Host: x.example", "X-Forwarded-Host: nb.example", "Forwarded: host=nb.example"]
)
@pytest.mark.parametrize(
    "lines", [("Host: 0123456789.nb.example",), ("Host: inside:1", "Forwarded: host=0123456789.nb.example")]
)
def test_a_page_at_a_notebooks_host_cannot_say_that_it_is_at_the_main_one(lines: tuple[str, ...], said: str) -> None:
    """A proxy may leave to the visitor what it does not set itself."""
    public = PublicAddress(domain="nb.example", trusted=networks(["127.0.0.1"]))
    for fields in ((*lines, said), (said, *lines)):
        request = parse_request("\r\n".join(["GET /lab HTTP/1.1", *fields, "", ""]).encode())
        seen = Visit(request, "127.0.0.1", public)
        assert (seen.label, seen.is_at_main_host) == ("0123456789", False)
