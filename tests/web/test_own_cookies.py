"""Our own cookies: out of reach of scripts and of other sites."""

import pytest
from aiohttp import web

from tmppool.keys import id_of
from tmppool.proxy import cookies
from tmppool.web import own_cookies
from tmppool.web.own_cookies import Scope
from tmppool.web.tickets import Tickets

KEY = "k" * 22


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_cookie_is_out_of_reach_of_scripts_and_other_sites(is_secure: bool) -> None:  # noqa: FBT001
    response = web.Response()
    own_cookies.put_visitor(response, "v" * 22, Scope(is_secure=is_secure))
    morsel = response.cookies["__Host-Http-tmppool" if is_secure else "tmppool"]
    assert (morsel.value, morsel["path"], morsel["httponly"], morsel["samesite"], morsel["domain"]) == (
        "v" * 22,
        "/",
        True,
        "Lax",
        "",
    )
    assert bool(morsel["secure"]) is is_secure
    assert morsel["max-age"] == str(7 * 86400)


def test_each_cookie_has_a_name_of_its_own_that_tells_no_key() -> None:
    name = own_cookies.notebook_name(KEY, is_secure=False)
    assert name == f"tmppool-{id_of(KEY)}"
    assert own_cookies.notebook_name(KEY, is_secure=True) == f"__Host-Http-{name}"
    assert own_cookies.lock_name(8000) == "tmppool-8000"


def test_no_two_visitors_are_the_same_and_none_is_their_cookie() -> None:
    made = [own_cookies.new_visitor() for _ in range(100)]
    assert len({visitor for _, visitor in made}) == len({cookie for cookie, _ in made}) == 100
    assert all(len(cookie) == 22 and own_cookies.visitor_id(cookie) == visitor for cookie, visitor in made)


def test_of_several_that_differ_none_counts() -> None:
    assert own_cookies.visitor_in([f"tmppool={'a' * 22}"], Scope(is_secure=False)) is not None
    assert own_cookies.visitor_in([f"tmppool={'a' * 22}; tmppool={'b' * 22}"], Scope(is_secure=False)) is None


def test_a_cookie_is_taken_back_as_it_was_set() -> None:
    response = web.Response()
    own_cookies.forget(response, "__Host-Http-tmppool-x", Scope(is_secure=True))
    morsel = response.cookies["__Host-Http-tmppool-x"]
    assert (morsel.value, morsel["max-age"], morsel["path"], morsel["secure"]) == ("", "0", "/", True)


def test_the_notebooks_that_cookies_are_named_for() -> None:
    names = [
        own_cookies.notebook_name(key, is_secure=is_secure)
        for key in ("a" * 22, "b" * 22)
        for is_secure in (True, False)
    ]
    values = [f"x=1; {names[0]}=v".encode(), f"{names[3]}=v; tmppool=w; tmppool-8000-x=1".encode()]
    assert own_cookies.notebook_ids(values) == {id_of("a" * 22), id_of("b" * 22)}
    assert own_cookies.notebook_ids([b"tmppool=w", b""]) == set()


def test_services_at_other_ports_of_a_host_take_no_notice_of_each_others_cookies() -> None:
    """Browsers send them to all ports (RFC 6265 section 8.5)."""
    response = web.Response()
    scopes = [
        Scope(is_secure, port, is_embedded)
        for is_secure in (False, True)
        for port in (None, 8000, 8001)
        for is_embedded in (False, True)
    ]
    for number, scope in enumerate(scopes):
        own_cookies.put_visitor(response, f"{number:02}" * 11, scope)
        own_cookies.put_secret(response, "code", f"code {number}", scope)
        own_cookies.put_secret(response, "ticket", Tickets(b"s" * 32).issue("f" * 32), scope)
    sent = [f"{name}={morsel.value}".encode() for name, morsel in response.cookies.items()]
    assert [own_cookies.secrets_in(sent, "code", scope) for scope in scopes] == [{f"code {n}"} for n in range(12)]
    lines = [value.decode() for value in sent]
    assert [own_cookies.visitor_in(lines, scope) for scope in scopes] == [
        own_cookies.visitor_id(f"{number:02}" * 11) for number in range(12)
    ]
    assert sorted(found for value in sent for found in cookies.own(value) or ()) == sorted(sent)
