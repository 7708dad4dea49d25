"""What programs may ask, as OpenAPI 3.1 documents: one of the public listener, one of the operator's.

Each path of an API stands here once; a test compares them with the routes that are served. Pages and what is
proxied to notebooks are not described. An object of ours holds what its schema names, and nothing else.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tmppool import __version__
from tmppool.notebook import Reason, State

PATH = "/api/openapi.json"

Json = dict[str, Any]

_NO_AUTH: Json = {}
_TOKEN: Json = {"token": []}


def serve(document: Json) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler that answers with ``document``."""
    body = web.json_response(document).body

    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-cache"})

    return answer


def public(*, with_pages: bool) -> Json:
    """Return the public listener's document; without pages ``/api/spawn`` asks for the API token."""
    pages = {"/spawn": {"get": _LOOK, "post": _LAUNCH}} if with_pages else {}
    security = [_NO_AUTH] if with_pages else [_TOKEN]
    return _document("tmppool", "Start temporary notebooks and look after their sessions.", pages | _public(security))


def admin(*, needs_token: bool) -> Json:
    """Return the admin listener's document."""
    document = _document("tmppool admin", "Drain, list and end notebooks; metrics.", _ADMIN)
    document["security"] = [_TOKEN] if needs_token else [_NO_AUTH]
    return document


def _document(title: str, description: str, paths: Json) -> Json:
    own = {"get": _operation("openapi", "This document", {"200": _json("The document.", {"type": "object"})})}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "description": description, "version": __version__},
        "paths": paths | {PATH: own},
        "components": {
            "schemas": _SCHEMAS,
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


# The words of OpenAPI, said shortly


def _object(properties: Json, optional: tuple[str, ...] = ()) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _json(description: str, schema: Json | str, **headers: Json) -> Json:
    return _content(description, "application/json", _schema(schema), headers)


def _page(description: str, **headers: Json) -> Json:
    return _content(description, "text/html", {"type": "string"}, headers)


def _content(description: str, kind: str, schema: Json, headers: Json) -> Json:
    named = {name.replace("_", "-"): header for name, header in headers.items()}
    return {"description": description, "content": {kind: {"schema": schema}}} | ({"headers": named} if named else {})


def _schema(schema: Json | str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema


def _operation(name: str, summary: str, responses: Json, **more: Any) -> Json:
    return {"operationId": name, "summary": summary, "responses": responses, **more}


def _word(*values: str) -> Json:
    return {"type": "string", "enum": list(values)}


_TEXT: Json = {"type": "string"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_TIME: Json = {"type": "number", "description": "Seconds since 1970."}
_LIMIT: Json = {"type": ["number", "null"], "description": "Seconds since 1970; null where there is no limit."}
_RETRY_AFTER: Json = {"required": True, "schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}
_LOCATION: Json = {"required": True, "schema": {"type": "string", "pattern": "^/user/[A-Za-z0-9_-]{22,128}/"}}
_POOL: Json = {"name": "pool", "in": "query", "schema": _TEXT, "description": "The pool, where it is not the default."}
_KEY: Json = {"name": "key", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}

_REFUSED = _json("Not allowed: the token is missing or wrong, or a page of another origin asks.", "Error")
_UNKNOWN = _json("There is no such thing here.", "Error")
_GONE = _json("No notebook has this key: it ended, or never was.", "Gone")

_SCHEMAS: Json = {
    "Error": _object({"message": _TEXT}),
    "Spawned": _object(
        {"url": _TEXT, "pool": _TEXT, "expires_at": _LIMIT, "idle_expires_at": _LIMIT, "token": _TEXT},
        optional=("token",),
    ),
    "Full": _object({"status": _word("full", "limited"), "message": _TEXT}),
    "Warming": _object({"status": _word("warming"), "message": _TEXT}),
    "Stats": _object(
        {"available": _COUNT, "capacity": _COUNT, "version": _TEXT, "container_image": _TEXT}
        | {state.value: _COUNT for state in (State.STARTING, State.WARM, State.ASSIGNED)}
    ),
    "Session": _object({"state": _word("live"), "now": _TIME, "expires_at": _LIMIT, "idle_expires_at": _LIMIT}),
    "Ended": _object({"state": _word("gone"), "reason": _word(Reason.ENDED.value), "explanation": _TEXT}),
    "Gone": _object(
        {
            "message": _TEXT,
            "state": _word("gone"),
            "reason": _word(*(reason.value for reason in Reason), "unknown"),
            "explanation": _TEXT,
            "fresh_url": {"type": "string", "pattern": "^/"},
        }
    ),
    "Health": _object(
        {
            "ok": {"type": "boolean"},
            "checks": {
                "type": "array",
                "items": _object(
                    {
                        "service": _TEXT,
                        "ok": {"type": "boolean"},
                        "message": {"type": "string"},
                        "_ignore_failure": {"type": "boolean"},
                    },
                    optional=("message", "_ignore_failure"),
                ),
            },
        }
    ),
    "Notebook": _object(
        {
            "id": _TEXT,
            "pool": _TEXT,
            "state": _word(*(state.value for state in State)),
            "since": _TIME,
            "idle_for": {"type": ["number", "null"], "description": "Seconds; null unless a visitor has it."},
        }
    ),
}

# The public listener

_LOOK = _operation(
    "launchPage",
    "The launch page, with the form and its ticket",
    {
        "200": _page("The page."),
        "303": {"description": "To the notebook that this browser has.", "headers": {"Location": _LOCATION}},
        "404": _UNKNOWN,
    },
    parameters=[_POOL],
)
_LAUNCH = _operation(
    "launch",
    "The launch page's form: get a notebook",
    {
        "303": {"description": "To the notebook.", "headers": {"Location": _LOCATION}},
        "403": {
            "description": "The ticket is missing, used, too old or another visitor's: the launch page once more."
            " Or a page of another origin asks.",
            "content": {"text/html": {"schema": _TEXT}, "application/json": {"schema": _schema("Error")}},
        },
        "404": _UNKNOWN,
        "413": _json("The form is too large.", "Error"),
        "429": _page("Every place is taken.", Retry_After=_RETRY_AFTER),
        "503": _page("Notebooks are being started.", Retry_After=_RETRY_AFTER),
    },
    parameters=[_POOL],
    requestBody={
        "required": True,
        "content": {"application/x-www-form-urlencoded": {"schema": _object({"ticket": _TEXT})}},
    },
)


def _public(spawn_security: list[Json]) -> Json:
    preflight = {"204": {"description": "What --allow-origin and its siblings permit."}}
    spawn = {
        "200": _json("A notebook. Its url is a path on this host.", "Spawned"),
        "403": _REFUSED,
        "404": _UNKNOWN,
        "429": _json("Every place is taken, or this address has started enough.", "Full", Retry_After=_RETRY_AFTER),
        "503": _json("Notebooks are being started.", "Warming", Retry_After=_RETRY_AFTER),
    }
    live = {"200": _json("It is live.", "Session"), "403": _REFUSED, "404": _UNKNOWN, "424": _GONE}
    return {
        "/api/spawn": {
            "post": _operation("spawn", "Get a notebook", spawn, parameters=[_POOL], security=spawn_security),
            "options": _operation("spawnPreflight", "For pages of other origins", preflight),
        },
        "/api/stats": {
            "get": _operation(
                "stats",
                "How many notebooks there are",
                {"200": _json("The counts.", "Stats"), "404": _UNKNOWN},
                parameters=[_POOL],
            ),
            "options": _operation("statsPreflight", "For pages of other origins", preflight),
        },
        "/api/session/{key}": {
            "parameters": [_KEY],
            "get": _operation("session", "When it ends, or why it has", live),
            "delete": _operation("endSession", "End it", live | {"200": _json("It has ended.", "Ended")}),
        },
        "/api/session/{key}/extend": {
            "parameters": [_KEY],
            "post": _operation("extendSession", "Count as activity of its visitor", live),
        },
        "/api/session/{key}/touch": {
            "parameters": [_KEY],
            "post": _operation("touchSession", "The same", live),
        },
        "/health": {
            "get": _operation(
                "health",
                "Whether a visitor can be served",
                {"200": _json("Yes.", "Health"), "503": _json("No, for these reasons.", "Health")},
            )
        },
    }


# The admin listener

_ADMIN: Json = {
    "/api/pool": {
        "delete": _operation(
            "drain",
            "Replace every notebook that nobody has",
            {"200": _json("How many.", _object({"drained": _COUNT})), "403": _REFUSED},
        )
    },
    "/api/notebooks": {
        "get": _operation(
            "notebooks",
            "All notebooks, without their keys",
            {
                "200": _json("All.", _object({"notebooks": {"type": "array", "items": _schema("Notebook")}})),
                "403": _REFUSED,
            },
        )
    },
    "/api/notebooks/{key}": {
        "parameters": [_KEY | {"description": "Its key or its id."}],
        "delete": _operation(
            "endNotebook",
            "End one",
            {"200": _json("It is ending.", "Notebook"), "403": _REFUSED, "404": _UNKNOWN},
        ),
    },
    "/metrics": {
        "get": _operation(
            "metrics",
            "For Prometheus",
            {"200": _content("Its text format.", "text/plain", _TEXT, {}), "403": _REFUSED},
        )
    },
}
