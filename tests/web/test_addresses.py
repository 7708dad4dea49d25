"""The table of addresses is that of the routes, and what stands in no row is closed."""

import pytest

from tests.web.test_openapi import application, served
from tmppool.web import addresses, routes
from tmppool.web.addresses import ADDRESSES, Address
from tmppool.web.tokens import Role

SERVED = served(application(routes.public))
KEY = "k" * 22


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert set(ADDRESSES) == set(SERVED)


def test_the_rights_in_a_session_are_those_of_its_routes() -> None:
    found = {path: methods - {"HEAD"} for path, methods in SERVED.items() if "{key}" in path}
    rights = {path: {method.decode() for method in row.rights} for path, row in ADDRESSES.items() if row.rights}
    assert rights == found


def test_only_what_tells_nothing_or_asks_for_a_notebooks_own_secret_is_open() -> None:
    open_ones = {path for path, row in ADDRESSES.items() if row.is_open and not row.rights}
    assert open_ones == {"/health", "/robots.txt", "/static/{name}"}


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_path_has_the_rules_of_its_route(path: str) -> None:
    made = path.replace("{key}", KEY).replace("{rest}", "a/b c").replace("{name}", "style.css")
    assert addresses.find(made, KEY if "{key}" in path else None) is ADDRESSES[path]


@pytest.mark.parametrize("path", ["", "*", "/nowhere", "/api/spawn/x", "/static", "/health/", "/labs/x", "//lab", "/session/x", "/api/nowhere"])  # fmt: skip
def test_what_stands_in_no_row_is_closed(path: str) -> None:
    assert addresses.find(path) == Address()


def test_a_key_that_names_another_address_is_none() -> None:
    assert addresses.find("/session/extend/extend", "extend").rights == {}
    assert addresses.find(f"/session/{KEY}/{KEY}", KEY).rights == {}
    assert ADDRESSES["/session/{key}"].rights == {b"GET": Role.OWNER}
