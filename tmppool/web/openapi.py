"""What programs may ask, as OpenAPI 3.1 documents: one of the public listener, one of the operator's.

Each path of an API stands here once; a test compares them with the routes that are served. Pages and what is
proxied to notebooks are not described. An object of ours holds what its schema names, and nothing else.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from tmppool import __version__
from tmppool.web.local import is_open
from tmppool.web.schemas import (
    AHEAD,
    CODE,
    COUNT,
    FOREIGN,
    GONE,
    KEY,
    LOCATION,
    LOCKED,
    MISDIRECTED,
    NOT_TAKEN,
    OPERATOR,
    POOL,
    RETRY_AFTER,
    SCHEMAS,
    TEXT,
    TOKEN,
    TOO_LARGE,
    UNKNOWN,
    Json,
    answer,
    form_of,
    json_answer,
    object_of,
    operation,
    page_answer,
    schema_of,
)

PATH = "/api/openapi.json"

_NO_AUTH: Json = {}
_TOKEN: Json = {"token": []}


def serve(document: Json) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler that answers with ``document``."""
    body = web.json_response(document).body

    async def give(request: web.Request) -> web.Response:
        del request
        return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-cache"})

    return give


def public(*, with_pages: bool, is_local: bool = False) -> Json:
    """Return the public listener's document; without pages ``/api/spawn`` asks for the API token.

    ``is_local``: notebooks are processes, and what has no secret of its own asks for the service's.
    """
    pages = {"/spawn": {"get": _LOOK, "post": _LAUNCH}} if with_pages else {}
    spawn = _SPAWN | {"security": [_NO_AUTH] if with_pages else [_TOKEN]}
    paths = pages | _PUBLIC | {"/api/spawn": _PUBLIC["/api/spawn"] | {"post": spawn}}
    document = _document("tmppool", "Start temporary notebooks and look after their sessions.", paths)
    if is_local:
        document["paths"] = {path: _guarded(path, item) for path, item in document["paths"].items()}
    return document


def _guarded(path: str, item: Json) -> Json:
    """What is asked of a request where notebooks are processes: this machine's name, and for most the secret."""
    operations = {name: dict(each) for name, each in item.items() if name != "parameters"}
    for each in operations.values():
        each["responses"] = each["responses"] | {"421": MISDIRECTED}
        if not is_open(path):
            each["responses"] = {"403": LOCKED} | each["responses"]
            each["security"] = [_TOKEN]
    return item | operations


def admin(*, needs_token: bool) -> Json:
    """Return the admin listener's document."""
    document = _document("tmppool admin", "Drain, list and end notebooks; metrics.", _ADMIN)
    document["security"] = [_TOKEN] if needs_token else [_NO_AUTH]
    return document


def _document(title: str, description: str, paths: Json) -> Json:
    own = {"get": operation("openapi", "This document", {"200": json_answer("The document.", {"type": "object"})})}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "description": description, "version": __version__},
        "paths": paths | {PATH: own},
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`token VALUE` or `Bearer VALUE`; asked for where the operator has set one.",
                }
            },
        },
    }


# The public listener

_LOOK = operation(
    "launchPage",
    "The launch page, with the form and its ticket",
    {
        "200": page_answer("The page."),
        "303": {"description": "To the notebook that this browser has.", "headers": {"Location": LOCATION}},
        "404": UNKNOWN,
    },
    parameters=[POOL],
)
_LAUNCH = operation(
    "launch",
    "The launch page's form: get a notebook",
    {
        "303": {"description": "To the notebook.", "headers": {"Location": LOCATION}},
        "403": {
            "description": "The ticket is missing, used, too old or another visitor's: the launch page once more."
            " Or a page of another origin asks.",
            "content": {"text/html": {"schema": TEXT}, "application/json": {"schema": schema_of("Error")}},
        },
        "404": UNKNOWN,
        "413": TOO_LARGE,
        "429": page_answer("Every place is taken, or this address has started enough.", Retry_After=RETRY_AFTER),
        "503": page_answer("Notebooks are being started.", Retry_After=AHEAD)
        | {"content": {"text/html": {"schema": TEXT}, "application/json": {"schema": schema_of("Error")}}},
    },
    parameters=[POOL, CODE],
    requestBody={"required": True, "content": form_of({"ticket": TEXT, "code": TEXT}, optional=("code",))},
)


_SPAWN = operation(
    "spawn",
    "Get a notebook",
    {
        "200": json_answer("A notebook. Its url is a path on this host, or whole.", "Spawned"),
        "403": json_answer("A token or code is missing or wrong, or a page of another origin asks.", "Refused"),
        "404": UNKNOWN,
        "413": TOO_LARGE,
        "429": json_answer("Every place is taken, or this address started enough.", "Full", Retry_After=RETRY_AFTER),
        "503": json_answer("Notebooks are being started.", "Warming", Retry_After=AHEAD),
    },
    parameters=[POOL, CODE],
)
_PREFLIGHT = {"204": {"description": "What --allow-origin and its siblings permit."}}
_LIVE = {"200": json_answer("It is live.", "Session"), "400": NOT_TAKEN, "403": FOREIGN, "404": UNKNOWN, "424": GONE}

_PUBLIC: Json = {
    "/api/spawn": {
        "post": _SPAWN,
        "options": operation("spawnPreflight", "For pages of other origins", _PREFLIGHT),
    },
    "/api/stats": {
        "get": operation(
            "stats",
            "How many notebooks there are",
            {"200": json_answer("The counts.", "Stats"), "404": UNKNOWN},
            parameters=[POOL],
        ),
        "options": operation("statsPreflight", "For pages of other origins", _PREFLIGHT),
    },
    "/api/session/{key}": {
        "parameters": [KEY, TOKEN],
        "get": operation("session", "When it ends, or why it has", _LIVE),
        "delete": operation("endSession", "End it", _LIVE | {"200": json_answer("It has ended.", "Ended")}),
    },
    "/api/session/{key}/extend": {
        "parameters": [KEY, TOKEN],
        "post": operation("extendSession", "Count as activity of its visitor", _LIVE),
    },
    "/api/session/{key}/touch": {
        "parameters": [KEY, TOKEN],
        "post": operation("touchSession", "The same", _LIVE),
    },
    "/api/session/{key}/share": {
        "parameters": [KEY, TOKEN],
        "post": operation("shareSession", "Let others in", _LIVE | {"200": json_answer("The link.", "Shared")}),
        "delete": operation("unshareSession", "Let them out", _LIVE | {"200": json_answer("No link.", "Shared")}),
    },
    "/health": {
        "get": operation(
            "health",
            "Whether a visitor can be served",
            {"200": json_answer("Yes.", "Health"), "503": json_answer("No, for these reasons.", "Health")},
        )
    },
}


# The admin listener

_ADMIN: Json = {
    "/api/pool": {
        "delete": operation(
            "drain",
            "Replace every notebook that nobody has",
            {"200": json_answer("How many.", object_of({"drained": COUNT}))} | OPERATOR,
        )
    },
    "/api/notebooks": {
        "get": operation(
            "notebooks",
            "All notebooks, without their keys",
            {
                "200": json_answer("All.", object_of({"notebooks": {"type": "array", "items": schema_of("Notebook")}})),
            }
            | OPERATOR,
        )
    },
    "/api/notebooks/{key}": {
        "parameters": [KEY | {"description": "Its key or its id."}],
        "delete": operation(
            "endNotebook",
            "End one",
            {"200": json_answer("It is ending.", "Notebook"), "404": UNKNOWN} | OPERATOR,
        ),
    },
    "/metrics": {
        "get": operation(
            "metrics",
            "For Prometheus",
            {"200": answer("Its text format.", "text/plain", TEXT, {})} | OPERATOR,
        )
    },
}
