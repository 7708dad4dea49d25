"""The OpenAPI 3.1 documents of the public and the admin listener, generated from one table and the models.

Each operation of an API is in the table once; a test compares the table with the routes. The launch page is the only
page that is described; the paths of notebooks are not.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from tmppool import __version__, keys
from tmppool.web import models
from tmppool.web.addresses import ADDRESSES
from tmppool.web.models import Body

Json = dict[str, Any]

PATH = "/api/openapi.json"
"""The path of each listener's document."""

_REFERENCE = "#/components/schemas/{model}"
_NO_AUTH: Json = {}
_TOKEN_AUTH: Json = {"token": []}
_WITH_PAGES = ("/spawn", "/build/{rest}", "/oembed")
_TOKEN_SCHEME = {
    "type": "apiKey",
    "in": "header",
    "name": "Authorization",
    "description": "`token VALUE` or `Bearer VALUE`; needed where the operator has set a token.",
}


@dataclass(frozen=True, slots=True)
class Response:
    """One response of an operation: one of ``bodies`` as JSON, a text of the media type ``text``, or either.

    ``schema`` is the JSON schema of a body without a model, ``events`` are the messages of an event stream.
    """

    description: str
    bodies: tuple[type[Body], ...] = ()
    text: str | None = None
    schema: Json | None = None
    events: tuple[type[Body], ...] = ()
    headers: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table. ``security`` is OpenAPI's; None inherits the document's."""

    method: str
    path: str
    name: str
    summary: str
    responses: Mapping[int, Response]
    parameters: tuple[Json, ...] = ()
    form: type[Body] | None = None
    security: Json | None = None


def public(*, with_pages: bool, is_local: bool = False) -> Json:
    """Return the public listener's document; without pages ``/api/spawn`` needs the API token.

    ``is_local``: notebooks are processes, and addresses that are not open need the lock's secret.
    """
    operations = [
        replace(each, security=_NO_AUTH if with_pages else _TOKEN_AUTH) if each.name == "spawn" else each
        for each in (*_PUBLIC, _THIS_DOCUMENT)
        if with_pages or each.path not in _WITH_PAGES
    ]
    if is_local:
        operations = [_guarded(each) for each in operations]
    return _document("tmppool", "Start temporary notebooks and manage their sessions.", operations)


def admin() -> Json:
    """Return the admin listener's document."""
    document = _document(
        "tmppool admin", "Drain the pools, list and end notebooks, read metrics.", (*_ADMIN, _THIS_DOCUMENT)
    )
    return document | {"security": [_TOKEN_AUTH]}


def serve(document: Json) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler that answers with ``document``."""
    text = json.dumps(document)

    async def give(request: web.Request) -> web.Response:
        del request
        return web.json_response(text=text, headers={"Cache-Control": "no-cache"})

    return give


def _guarded(operation: Operation) -> Operation:
    """Return an operation as served where notebooks are processes: with 421, and mostly with the lock's secret."""
    responses = {**operation.responses, 421: _MISDIRECTED}
    if ADDRESSES[operation.path].is_open:
        return replace(operation, responses=responses)
    return replace(operation, responses={403: _LOCKED, **responses}, security=_TOKEN_AUTH)


# From the table to OpenAPI


class _Schemas(GenerateJsonSchema):
    """Pydantic's JSON schemas without field titles, which would only repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def _document(title: str, description: str, operations: Iterable[Operation]) -> Json:
    used = list(operations)
    paths: dict[str, Json] = {}
    for operation in used:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "description": description, "version": __version__},
        "paths": paths,
        "components": {"schemas": _components(used), "securitySchemes": {"token": _TOKEN_SCHEME}},
    }


def _components(operations: list[Operation]) -> Json:
    """Return the schemas of all models that the operations use, and of the models and enums in them."""
    sent = {
        body
        for each in operations
        for response in each.responses.values()
        for body in response.bodies + response.events
    }
    taken = {each.form for each in operations if each.form is not None}
    found: list[tuple[type[Body], Any]] = [(body, "serialization") for body in sent] + [
        (f, "validation") for f in taken
    ]
    found.sort(key=lambda each: each[0].__name__)
    _, schemas = models_json_schema(found, ref_template=_REFERENCE, schema_generator=_Schemas)
    return dict(schemas.get("$defs", {}))


def _operation(operation: Operation) -> Json:
    made: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {str(status): _response(each) for status, each in sorted(operation.responses.items())},
    }
    if operation.parameters:
        made["parameters"] = list(operation.parameters)
    if operation.form is not None:
        content = {"application/x-www-form-urlencoded": {"schema": _reference(operation.form)}}
        made["requestBody"] = {"required": True, "content": content}
    if operation.security is not None:
        made["security"] = [operation.security]
    return made


def _response(response: Response) -> Json:
    content: Json = {}
    if response.text is not None:
        content[response.text] = {"schema": {"type": "string"}}
    if response.events:
        each = {"anyOf": [_reference(body) for body in response.events]}
        message = {"contentMediaType": "application/json", "contentSchema": each}
        content["text/event-stream"] = {
            "schema": {"type": "string", "description": "The data of each event.", **message}
        }
    found = [_reference(body) for body in response.bodies] + ([response.schema] if response.schema else [])
    if found:
        content["application/json"] = {"schema": found[0] if len(found) == 1 else {"anyOf": found}}
    made: Json = {"description": response.description}
    if content:
        made["content"] = content
    if response.headers:
        made["headers"] = dict(response.headers)
    return made


def _reference(body: type[Body]) -> Json:
    return {"$ref": _REFERENCE.format(model=body.__name__)}


# What several operations share

_HTML = "text/html"
_LOCATION: Json = {
    "required": True,
    "schema": {"type": "string", "pattern": f"^(https?://[^/]+)?/user/{keys.GRAMMAR}/"},
}
_SECONDS: Json = {"schema": {"type": "integer", "minimum": 1}}
_RETRY_AFTER = {"Retry-After": {"required": True, "description": "Seconds.", **_SECONDS}}
_MAY_RETRY_AFTER = {"Retry-After": {"description": "Seconds. A prefetch gets no Retry-After.", **_SECONDS}}

_POOL: Json = {
    "name": "pool",
    "in": "query",
    "schema": {"type": "string"},
    "description": "The pool's name; the default pool without it.",
}
_CODE: Json = {
    "name": "code",
    "in": "query",
    "schema": {"type": "string"},
    "description": "The workshop's code, where there is one.",
}
_URL: Json = {
    "name": "url",
    "in": "query",
    "required": True,
    "schema": {"type": "string"},
    "description": "The whole URL of a launch link.",
}
_SPEC: Json = {
    "name": "rest",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "The repository, as in `gh/ORG/REPO/REF`.",
}
_TOKEN: Json = {
    "name": "token",
    "in": "query",
    "schema": {"type": "string"},
    "description": "The token that /api/spawn returned with the URL. `Authorization: token VALUE` and the browser's"
    " cookie are accepted in its place.",
}
_KEY: Json = {
    "name": "key",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": f"^{keys.GRAMMAR}$"},
    "description": "The notebook's key, as in `/user/{key}/`.",
}
_KEY_OR_ID = _KEY | {"description": "The notebook's key, or its id as /api/notebooks lists it."}

_TO_NOTEBOOK = Response("A redirect to the notebook.", headers={"Location": _LOCATION})
_UNKNOWN = Response("Nothing of that name or key exists.", (models.Error,))
_TOO_LARGE = Response("The form is too large.", (models.Error,))
_MALFORMED = Response("The request is malformed.", text="text/plain")
_LOCKED = Response("The secret that was printed at the start is missing or wrong.", (models.Error,))
_MISDIRECTED = Response("The Host header does not name this machine.", (models.Error,))
_STARTS_LIMITED = "All notebooks are in use, or this network address has started or holds too many."
_STARTING = "Notebooks are being started, or this is a prefetch."

_LIVE = Response("The session is live.", (models.Session, models.CutOffSession))
_PREFLIGHT = Response("The CORS headers that --allow-origin and its siblings set, or those for --embed-origins.")
_PREFLIGHT_OF_ALL = Response("Any page may ask.")
_OPERATOR = {
    403: Response("The token is missing or wrong, or a page of another origin sent this.", (models.Error,)),
    421: Response("Without a token the Host header has to name this machine.", (models.Error,)),
}


# The tables


def _of_session(method: str, path: str, name: str, summary: str, success: Response) -> Operation:
    """Return an operation on one session, with the response ``success`` and the refusals common to all sessions."""
    others = (
        "The notebook is another visitor's, or a page of another origin sent this. Or only its owner may do this, with"
        " the token or, where notebooks have their own host names, at the main host."
    )
    responses = {
        200: success,
        400: _MALFORMED,
        403: Response(others, (models.Foreign, models.Error)),
        404: _UNKNOWN,
        424: Response("No notebook has this key: its session ended, or never was.", (models.Gone,)),
    }
    return Operation(method, f"/api/session/{{key}}{path}", name, summary, responses, parameters=(_KEY, _TOKEN))


def _preflight(path: str, name: str, success: Response = _PREFLIGHT, *parameters: Json) -> Operation:
    return Operation("OPTIONS", path, f"{name}Preflight", "CORS preflight", {204: success}, parameters=parameters)


_THIS_DOCUMENT = Operation(
    "GET", PATH, "openapi", "This document", {200: Response("The document.", schema={"type": "object"})}
)

_PUBLIC = (
    Operation(
        "GET",
        "/spawn",
        "launchPage",
        "The launch page, with its form and ticket",
        {200: Response("The page.", text=_HTML), 303: _TO_NOTEBOOK, 404: _UNKNOWN},
        parameters=(_POOL,),
    ),
    Operation(
        "POST",
        "/spawn",
        "launch",
        "Submit the launch page's form: get a notebook",
        {
            303: _TO_NOTEBOOK,
            403: Response(
                "The ticket is missing, used, expired or another visitor's: the launch page again."
                " Or a page of another origin sent this.",
                (models.Error,),
                text=_HTML,
            ),
            404: _UNKNOWN,
            413: _TOO_LARGE,
            429: Response(_STARTS_LIMITED, text=_HTML, headers=_RETRY_AFTER),
            503: Response(_STARTING, (models.Error,), text=_HTML, headers=_MAY_RETRY_AFTER),
        },
        parameters=(_POOL, _CODE),
        form=models.LaunchForm,
    ),
    Operation(
        "POST",
        "/api/spawn",
        "spawn",
        "Get a notebook",
        {
            200: Response("A notebook.", (models.Spawned,)),
            403: Response(
                "The token or the workshop code is missing or wrong, or a page of another origin sent this.",
                (models.WrongCode, models.Error),
            ),
            404: _UNKNOWN,
            413: _TOO_LARGE,
            429: Response(_STARTS_LIMITED, (models.Full, models.Limited, models.Held), headers=_RETRY_AFTER),
            503: Response(_STARTING, (models.Warming, models.Error), headers=_MAY_RETRY_AFTER),
        },
        parameters=(_POOL, _CODE),
    ),
    Operation(
        "GET",
        "/build/{rest}",
        "build",
        "Get a notebook by an event stream, in the form of BinderHub's; for pages in browsers",
        {
            200: Response("The events.", events=(models.BuildEvent, models.Ready)),
            303: Response("A person is redirected to the launch page."),
            400: Response("The request does not accept text/event-stream.", (models.Error,)),
        },
        parameters=(_SPEC, _CODE),
    ),
    _preflight("/build/{rest}", "build", _PREFLIGHT_OF_ALL, _SPEC),
    Operation(
        "GET",
        "/api/documents",
        "documents",
        "List the documents of a pool's image",
        {200: Response("The documents.", (models.Documents,)), 404: _UNKNOWN},
        parameters=(_POOL,),
    ),
    Operation(
        "GET",
        "/oembed",
        "oembed",
        "Tell how a launch link is embedded (oEmbed 1.0)",
        {
            200: Response("A frame, or a link.", (models.OEmbedFrame, models.OEmbedLink)),
            404: Response("The URL is no launch link of this service.", (models.Error,)),
            501: Response("Another format than JSON.", (models.Error,)),
        },
        parameters=(_URL,),
    ),
    Operation(
        "GET",
        "/versions",
        "versions",
        "Tell that Binder's links are taken",
        {200: Response("The version.", (models.BinderVersions,))},
    ),
    Operation(
        "GET",
        "/hub/api",
        "hub",
        "Tell that JupyterHub's links are taken",
        {200: Response("The version.", (models.HubVersion,))},
    ),
    Operation(
        "GET",
        "/api/stats",
        "stats",
        "Count a pool's notebooks",
        {200: Response("The counts.", (models.Stats,)), 404: _UNKNOWN},
        parameters=(_POOL,),
    ),
    _of_session("GET", "", "session", "When a session will end, or why it ended", _LIVE),
    _of_session("DELETE", "", "endSession", "End a session", Response("It has ended.", (models.Ended,))),
    _of_session("POST", "/extend", "extendSession", "Count as activity: the session is idle only later", _LIVE),
    _of_session("POST", "/touch", "touchSession", "The same, as the pages report that a person is active", _LIVE),
    _of_session(
        "POST", "/share", "shareSession", "Share a notebook by a link", Response("The link.", (models.Shared,))
    ),
    _of_session(
        "DELETE",
        "/share",
        "unshareSession",
        "Stop sharing; the link never works again",
        Response("There is no link any more.", (models.Shared,)),
    ),
    Operation(
        "GET",
        "/health",
        "health",
        "Check that visitors can be served",
        {
            200: Response("They can.", (models.Health,)),
            503: Response("They cannot.", (models.Health,)),
        },
    ),
    _preflight("/api/spawn", "spawn"),
    _preflight("/api/stats", "stats"),
    _preflight("/api/documents", "documents"),
    _preflight("/oembed", "oembed"),
    _preflight("/health", "health"),
    _preflight(PATH, "openapi"),
    _preflight("/versions", "versions", _PREFLIGHT_OF_ALL),
    _preflight("/hub/api", "hub", _PREFLIGHT_OF_ALL),
)

_ADMIN = (
    Operation(
        "DELETE",
        "/api/pool",
        "drain",
        "Replace every notebook that nobody holds",
        {200: Response("How many are being replaced.", (models.Drained,)), **_OPERATOR},
    ),
    Operation(
        "GET",
        "/api/notebooks",
        "notebooks",
        "List all notebooks, without their keys",
        {200: Response("All notebooks of all pools.", (models.Notebooks,)), **_OPERATOR},
    ),
    Operation(
        "DELETE",
        "/api/notebooks/{key}",
        "endNotebook",
        "End a notebook",
        {200: Response("It is ending.", (models.Notebook,)), 404: _UNKNOWN, **_OPERATOR},
        parameters=(_KEY_OR_ID,),
    ),
    Operation(
        "GET",
        "/health",
        "health",
        "Check that visitors can be served, with reasons",
        {
            200: Response("They can.", (models.HealthReport,)),
            503: Response("They cannot, for these reasons.", (models.HealthReport,)),
            **_OPERATOR,
        },
    ),
    Operation(
        "GET",
        "/metrics",
        "metrics",
        "Metrics for Prometheus",
        {200: Response("Prometheus' text format.", text="text/plain"), **_OPERATOR},
    ),
)
