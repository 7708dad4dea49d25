"""The documents say what is served: no path more, no path less."""

import inspect
import re
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import jsonschema_rs
import pytest
from aiohttp import web

from tests.web.guests import Place
from tests.web.test_models import CASES
from tmppool import __version__, jupyter_urls
from tmppool.web import models, openapi, routes
from tmppool.web.addresses import ADDRESSES, BELOW_HUB, PEER_LINKS

ALIASES = {"/api/spawn/": "/api/spawn", "/stats": "/api/stats", "/hub/api/": "/hub/api"}
"""Other spellings of what is described, as tmpnb had them."""

PAGES = {
    "/",
    "/spawn/{rest}",
    *(f"/{prefix}" for prefix in jupyter_urls.DEEP_LINKS),
    *(f"/{prefix}/{{rest}}" for prefix in jupyter_urls.DEEP_LINKS),
    *(f"/{form}{rest}" for form in (*PEER_LINKS, *BELOW_HUB) for rest in ("", "/{rest}")),
    "/hub",
    *(f"/hub/{path}" for path in ("", "home", "login", "lti/launch", "spawn", "spawn/{rest}")),
    "/embed",
    "/badge.svg",
    "/picture/{rest}",
    "/badge_logo.svg",
    "/live-cells.js",
    "/session/{key}",
    *(f"/session/{{key}}/{verb}" for verb in ("share", "unshare", "end", "claim")),
    "/robots.txt",
    "/static/{name}",
}
"""For people and their browsers."""


class Handlers:
    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.names.add(name)

        async def handle(request: web.Request) -> web.Response:
            raise NotImplementedError

        return handle


def application(make: Callable[..., web.Application], **known: Any) -> web.Application:
    """The application with its real addresses, and nothing behind them."""
    return make(**{name: known.get(name, Handlers()) for name in inspect.signature(make).parameters})


def served(app: web.Application) -> dict[str, set[str]]:
    """The methods of each address; one that stands for several words is written out."""
    found: dict[str, set[str]] = {}
    for route in app.router.routes():
        assert route.resource is not None
        pattern = route.resource.get_info().get("pattern")
        path = route.resource.canonical
        words = re.search(r"\(\?P<(\w+)>(\w+(?:\|\w+)+)\)", pattern.pattern) if pattern else None
        paths = [path.replace(f"{{{words[1]}}}", word) for word in words[2].split("|")] if words else [path]
        for each in paths:
            found.setdefault(each, set()).add(route.method)
    return found


def described(document: dict[str, Any]) -> dict[str, set[str]]:
    return {path: {name.upper() for name in item if name != "parameters"} for path, item in document["paths"].items()}


def without_head(methods: set[str]) -> set[str]:
    """HEAD goes with every GET (RFC 9110 section 9.3.2) and is not described."""
    return methods - {"HEAD"}


@pytest.mark.parametrize("make", [routes.public, routes.admin])
def test_every_handler_has_an_address(make: Callable[..., web.Application]) -> None:
    rooms = [cls for hint in get_type_hints(make).values() for cls in (get_args(hint) or (hint,)) if vars(cls)]
    handlers = {
        name: method
        for room in rooms
        for name, method in vars(room).items()
        if inspect.iscoroutinefunction(method) and list(inspect.signature(method).parameters) == ["self", "request"]
    }
    assert len(handlers) > 3
    asked = Handlers()
    application(make, **dict.fromkeys(inspect.signature(make).parameters, asked))
    assert {name for name in handlers if not name.startswith("_")} == asked.names & handlers.keys()


@pytest.mark.parametrize("with_pages", [True, False], ids=["with pages", "API only"])
def test_the_public_document_describes_each_address_that_is_no_page(with_pages: bool) -> None:  # noqa: FBT001
    app = application(routes.public, **({} if with_pages else {"launch": None}))
    found = {path: without_head(methods) for path, methods in served(app).items() if path not in PAGES}
    for alias, path in ALIASES.items():
        assert found.pop(alias) == found[path]
    assert found == described(openapi.public(with_pages=with_pages))


def test_the_admin_document_describes_each_address() -> None:
    app = application(routes.admin)
    found = {path: without_head(methods) for path, methods in served(app).items()}
    assert found == described(openapi.admin())


def documents() -> list[dict[str, Any]]:
    return [
        openapi.public(with_pages=True),
        openapi.public(with_pages=False),
        openapi.public(with_pages=True, is_local=True),
        openapi.admin(),
    ]


def parts(node: Any) -> Any:
    yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(part)


def test_every_object_names_all_that_it_holds() -> None:
    for document in documents():
        paths = {path: item for path, item in document["paths"].items() if path != openapi.PATH}
        objects = [
            part
            for part in parts([paths, document["components"]])
            if isinstance(part, dict) and part.get("type") == "object"
        ]
        assert len(objects) > 1
        assert all(part["additionalProperties"] is False for part in objects)


def test_every_model_is_described_by_the_listener_that_sends_it_and_by_no_other() -> None:
    public, admin = (set(each["components"]["schemas"]) for each in (documents()[0], documents()[3]))
    for_operators = {"Drained", "Notebook", "Notebooks", "DetailedCheck", "HealthReport"}
    assert public >= {kind.__name__ for kind in models.Body.__subclasses__()} - for_operators
    assert admin >= for_operators
    assert admin & public == {"Error", "Advisory"}


def test_the_documents_are_valid_openapi() -> None:
    from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR  # noqa: PLC0415 - slow

    for document in documents():
        OPENAPI_31_VALIDATOR.validate(document)
        with pytest.raises(jsonschema_rs.ValidationError):
            OPENAPI_31_VALIDATOR.validate(document | {"paths": []})


@pytest.mark.parametrize(("body", "wanted"), CASES, ids=[type(body).__name__ for body, _ in CASES])
def test_a_body_is_valid_by_the_schema_of_its_name_and_no_field_can_be_left_out_or_added(
    body: models.Body, wanted: dict[str, Any]
) -> None:
    schemas = {name: each for document in documents() for name, each in document["components"]["schemas"].items()}
    reference = f"#/components/schemas/{type(body).__name__}"
    validator = jsonschema_rs.validator_for({"$ref": reference, "components": {"schemas": schemas}})
    assert validator.is_valid(wanted)
    assert not validator.is_valid(wanted | {"more": 1})
    for name in wanted:
        assert not validator.is_valid({key: value for key, value in wanted.items() if key != name})


def test_every_schema_that_a_document_holds_is_used() -> None:
    for document in documents():
        used = {
            part["$ref"].rpartition("/")[2] for part in parts(document) if isinstance(part, dict) and "$ref" in part
        }
        assert used == set(document["components"]["schemas"])


def test_a_response_of_several_shapes_allows_one_of_them_only() -> None:
    refused = openapi.public(with_pages=True)["paths"]["/api/spawn"]["post"]["responses"]["429"]
    shapes = refused["content"]["application/json"]["schema"]["anyOf"]
    assert [shape["$ref"].rpartition("/")[2] for shape in shapes] == ["Full", "Limited", "Held"]


def test_the_forms_code_may_be_left_out_and_its_ticket_may_not() -> None:
    form = openapi.public(with_pages=True)["components"]["schemas"]["LaunchForm"]
    assert (list(form["properties"]), form["required"]) == (["ticket", "code", "returns"], ["ticket"])


def test_where_notebooks_are_processes_all_but_what_is_open_needs_the_secret() -> None:
    paths = openapi.public(with_pages=True, is_local=True)["paths"]
    for path, item in paths.items():
        for operation in item.values():
            assert "421" in operation["responses"]
            assert (operation.get("security") == [{"token": []}]) is not ADDRESSES[path].is_open
            assert ADDRESSES[path].is_open or "403" in operation["responses"]


def test_every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() -> None:
    for document in documents():
        known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
        found = list(parts(document))
        assert {part["$ref"] for part in found if isinstance(part, dict) and "$ref" in part} <= known
        names = [part["operationId"] for part in found if isinstance(part, dict) and "operationId" in part]
        assert len(names) == len(set(names)) > 3


def test_a_token_is_asked_for_where_the_service_asks_for_one() -> None:
    for with_pages, wanted in ((True, [{}]), (False, [{"token": []}])):
        assert openapi.public(with_pages=with_pages)["paths"]["/api/spawn"]["post"]["security"] == wanted
    assert openapi.admin()["security"] == [{"token": []}]


async def test_both_listeners_serve_their_own_document(place: Place) -> None:
    for guest, document in (
        (place.program(), openapi.public(with_pages=True)),
        (place.operator(), openapi.admin()),
    ):
        answer = await guest.get("/api/openapi.json")
        assert (answer.status, answer.json) == (200, document)
        assert answer.headers["Content-Type"].startswith("application/json")
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.json["openapi"].startswith("3.1")
        assert answer.json["info"]["version"] == __version__
