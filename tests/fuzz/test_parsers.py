"""What reads a stranger's text: it never raises what nobody expects, and what it returns is what it promises."""

import ipaddress
import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from tests.fuzz.effort import examples
from tests.web.heads import unparsed
from tmppool import image_documents, jupyter_urls
from tmppool.keys import is_key
from tmppool.proxy import headers, target
from tmppool.proxy.forwarded import identify, networks
from tmppool.running import base_path
from tmppool.web import addresses, links, peer_links, preview, repositories
from tmppool.web.peer_links import PeerLinkError
from tmppool.web.repositories import Repositories, Row
from tmppool.web.tickets import Tickets
from tmppool.web.visit import Origin

pytestmark = pytest.mark.corpus

KEY = "k" * 22
SECRET = b"s" * 32
TRUSTED = networks(["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"])

visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
pieces = st.sampled_from(
    ["/", "//", "\\", "..", "?", "&", "=", "pool=", "spawn", "lab", "tree", "notebooks", "/spawn/", "%2f", "%5c", "%00", "%ff", ".ipynb", ":", "@", "evil.example"]
)  # fmt: skip
raws = st.lists(pieces | st.text(visible, max_size=5), max_size=12).map(lambda words: "/" + "".join(words))
sent = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))  # fmt: skip


@given(raw=raws | st.text(max_size=40), landing=st.sampled_from(["/tree", "/lab?reset", "/"]))
@example(raw="/spawn//evil.example/x", landing="/tree")
@example(raw="/spawn/\\evil.example", landing="/tree")
@example(raw="//evil.example", landing="/tree")
@examples(400)
def test_a_link_leads_below_one_slash(raw: str, landing: str) -> None:
    target = links.target_of(raw, landing)
    assert re.match(r"/(?![/\\])", target)
    location = base_path(KEY) + target.lstrip("/")
    assert unparsed(location).key == KEY or re.search(r"\s", raw)
    document = jupyter_urls.document_of(target)
    assert document is None or document.endswith(".ipynb")
    assert jupyter_urls.document_of(raw) is None or isinstance(jupyter_urls.document_of(raw), str)
    assert isinstance(links.pool_of(raw), str | None)


@given(raw=raws | st.text(max_size=40), before=st.sampled_from(["http://h", "HTTP://H", "http://h.evil", "//h", ""]))
@example(raw="/notebooks/../../session/x", before="http://h")
@examples(400)
def test_what_is_embedded_is_a_launch_link_of_ours(raw: str, before: str) -> None:
    found = preview._launch_link(before + raw, "http://h")
    if found is not None:
        assert before.lower() == "http://h"
        assert target.is_accepted(found.encode())
        assert addresses.find(unquote(found.partition("?")[0])).is_launch


@given(raw=raws)
@examples(400)
def test_the_form_posts_below_spawn_and_leads_where_the_link_did(raw: str) -> None:
    action = links.action_of(raw)
    assert re.match(r"/spawn(?=[/?]|$)", action)
    assert links.action_of(action) == action
    assert links.target_of(action, "/tree") == links.target_of(raw, "/tree")
    assert links.pool_of(action) == links.pool_of(raw)


@given(suffix=sent, key=st.text(visible, max_size=140) | st.just(KEY))
@examples(400)
def test_an_address_of_a_notebook_is_read_whole_or_not_at_all(suffix: str, key: str) -> None:
    raw = f"/user/{key}{suffix}"
    found = unparsed(raw)
    if found.key is None:
        return
    slash = "" if found.path is None else "/"
    assert f"/user/{found.key}{slash}{found.path or ''}{found.query}" == raw
    assert is_key(found.key)
    assert "?" not in (found.path or "")


@given(
    cookies=st.lists(sent | st.builds("{}={}".format, st.sampled_from(["tmppool", "__Host-tmppool", "a", ""]), sent)),
    mark=st.sampled_from(["; ", ";", ",", ""]),
)
@example(cookies=["tmppool=" + "\udcff" * 22], mark="")
@examples(400)
def test_any_cookies_name_one_visitor_or_none(cookies: list[str], mark: str) -> None:
    visitor = unparsed("/", {"Host": "h", "Cookie": mark.join(cookies)}).visitor
    assert visitor is None or re.fullmatch(r"[0-9a-f]{32}", visitor)


@given(
    at=st.integers(0, 200),
    gone=st.integers(0, 200),
    put=st.text(max_size=5) | st.sampled_from([".", "..", "=", "\x00", "\udcff"]),
    visitor=st.none() | st.text() | st.just("anna"),
)
@examples(400)
def test_a_ticket_that_was_changed_gives_nothing_more(at: int, gone: int, put: str, visitor: str | None) -> None:
    tickets = Tickets(SECRET)
    ticket = tickets.issue("anna")
    changed = ticket[:at] + put + ticket[at + gone :]
    was_right = tickets.redeem(changed, visitor)
    if was_right:  # base64 may be written in several ways
        assert visitor == "anna"
    assert tickets.redeem(ticket, "anna") is not was_right
    tickets.give_back(changed, visitor)


@given(text=st.text() | st.lists(st.sampled_from("aA0-_.=e"), max_size=120).map("".join))
@examples(300)
def test_what_nobody_signed_is_no_ticket(text: str) -> None:
    tickets = Tickets(SECRET)
    assert tickets.redeem(text, "anna") is False
    tickets.give_back(text, None)


@given(
    peer=st.sampled_from(["127.0.0.1", "10.1.1.1", "203.0.113.1", "::1", "fd00::1", "::ffff:10.0.0.1"]),
    said=st.lists(
        st.tuples(
            st.sampled_from(["X-Forwarded-For", "X-Forwarded-Proto", "X-Scheme", "X-Forwarded-Host", "Host", "Forwarded"]),
            sent | st.lists(st.sampled_from(["203.0.113.7", "10.1.1.1", "[::1]:80", "fe80::1%a", "::", " ", ",", "1.1", "https"])).map(", ".join),
        )
    ),
)  # fmt: skip
@examples(400)
def test_who_is_said_to_be_behind_a_proxy_has_an_address(peer: str, said: list[tuple[str, str]]) -> None:
    client = identify(peer, CIMultiDict(said), TRUSTED)
    ipaddress.ip_address(client.address)
    assert client.scheme in ("http", "https")
    lines = headers.identity(client, b"t").split(b"\r\n")
    assert all(re.fullmatch(rb"(?:[A-Za-z-]+: [!-~][ -~]*)?", line) for line in lines), lines


@given(origin=sent, host=sent, site=st.none() | sent)
@examples(300)
def test_any_origin_is_ours_or_another(origin: str, host: str, site: str | None) -> None:
    found = unparsed("/", {"Origin": origin, "Host": host} | ({} if site is None else {"Sec-Fetch-Site": site}))
    if site is None and found.origin is Origin.SAME:
        assert origin.lower().endswith(host.lower())


forms = st.sampled_from(
    ["/v2/gh/o/r/", "/v2/git/", "/v2/", "/hub/user-redirect/", "/user-redirect/git-pull?repo=", "/github/o/r/blob/main/", "/repo/o/r/", "/v2/gh/o/r/b?urlpath=", "/v2/gh/o/r/b?amp;labpath="]
)  # fmt: skip
ROWS = Repositories([Row("gh/o/*", pool="r", directory="a b/c", prefix="docs"), Row("git/*")])


@given(form=forms, raw=raws | st.text(visible, max_size=40))
@example(form="/v2/gh/o/r/b?urlpath=", raw="//evil.example/x")
@example(form="/v2/gh/o/r/b?urlpath=", raw="%2F%2Fevil.example")
@example(form="/hub/user-redirect/", raw="/\\evil.example")
@examples(600)
def test_a_link_of_another_service_leads_to_a_launch_link_or_is_refused(form: str, raw: str) -> None:
    try:
        found = peer_links.parse(form + raw)
    except PeerLinkError:
        return
    assert found is not None
    link = repositories.launch_link(ROWS.place(found))
    assert re.match(r"/(?![/\\])", link), link
    assert target.is_accepted(link.encode())


@given(path=st.text(max_size=20), content=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@examples(300)
def test_a_document_is_read_whatever_it_holds(path: str, content: bytes) -> None:
    found = image_documents.read(path + ".ipynb", content)
    assert found.title.isprintable()
    assert image_documents.read(path + ".md", content).title.isprintable()
