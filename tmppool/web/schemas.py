"""The words of OpenAPI, said shortly, and what several paths of our APIs have in common."""

from typing import Any

from tmppool import keys
from tmppool.notebook import Reason, State

Json = dict[str, Any]


def object_of(properties: Json, optional: tuple[str, ...] = ()) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def json_answer(description: str, schema: Json | str, **headers: Json) -> Json:
    return answer(description, "application/json", schema_of(schema), headers)


def page_answer(description: str, **headers: Json) -> Json:
    return answer(description, "text/html", {"type": "string"}, headers)


def answer(description: str, kind: str, schema: Json, headers: Json) -> Json:
    named = {name.replace("_", "-"): header for name, header in headers.items()}
    return {"description": description, "content": {kind: {"schema": schema}}} | ({"headers": named} if named else {})


def form_of(properties: Json, optional: tuple[str, ...]) -> Json:
    return {"application/x-www-form-urlencoded": {"schema": object_of(properties, optional)}}


def schema_of(schema: Json | str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema


def operation(name: str, summary: str, responses: Json, **more: Any) -> Json:
    return {"operationId": name, "summary": summary, "responses": responses, **more}


def word_of(*values: str) -> Json:
    return {"type": "string", "enum": list(values)}


TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
TIME: Json = {"type": "number", "description": "Seconds since 1970."}
LIMIT: Json = {"type": ["number", "null"], "description": "Seconds since 1970; null where there is no limit."}
RETRY_AFTER: Json = {"required": True, "schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}
LOCATION: Json = {
    "required": True,
    "schema": {"type": "string", "pattern": f"^(https?://[^/]+)?/user/{keys.GRAMMAR}/"},
}
POOL: Json = {"name": "pool", "in": "query", "schema": TEXT, "description": "The pool, where it is not the default."}
CODE: Json = {
    "name": "code",
    "in": "query",
    "schema": TEXT,
    "description": "The workshop's code, where there is one.",
}
TOKEN: Json = {
    "name": "token",
    "in": "query",
    "schema": TEXT,
    "description": "What /api/spawn said with the url; `Authorization: token VALUE` or the browser's cookie do too.",
}
KEY: Json = {
    "name": "key",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": f"^{keys.GRAMMAR}$"},
}

REFUSED = json_answer("Not allowed: the token is missing or wrong, or a page of another origin asks.", "Error")
OPERATOR = {"403": REFUSED, "421": json_answer("Without a token this machine's own name is needed.", "Error")}
LOCKED = json_answer("The secret that the start printed is missing or wrong.", "Error")
MISDIRECTED = json_answer("The Host is not this machine's own name.", "Error")
FOREIGN = json_answer("This notebook is another visitor's, or a page of another origin asks.", "Foreign")
TOO_LARGE = json_answer("The form is too large.", "Error")
UNKNOWN = json_answer("There is no such thing here.", "Error")
NOT_TAKEN = {"description": "This is no request that the service takes.", "content": {"text/plain": {"schema": TEXT}}}
AHEAD: Json = RETRY_AFTER | {"required": False}
"""Who asks ahead, before its person does, is not told when to ask again."""
GONE = json_answer("No notebook has this key: it ended, or never was.", "Gone")

SCHEMAS: Json = {
    "Error": object_of({"message": TEXT}),
    "Spawned": object_of(
        {"url": TEXT, "pool": TEXT, "expires_at": LIMIT, "idle_expires_at": LIMIT, "token": TEXT},
    ),
    "Full": object_of({"status": word_of("full", "limited"), "message": TEXT}),
    "Warming": object_of({"status": word_of("warming"), "message": TEXT}, optional=("status",)),
    "Refused": object_of({"status": word_of("wrong-code"), "message": TEXT}, optional=("status",)),
    "Stats": object_of(
        {"available": COUNT, "capacity": COUNT, "version": TEXT, "container_image": TEXT}
        | {state.value: COUNT for state in (State.STARTING, State.WARM, State.ASSIGNED)}
    ),
    "Session": object_of(
        {
            "state": word_of("live"),
            "now": TIME,
            "expires_at": LIMIT,
            "idle_expires_at": LIMIT,
            "role": word_of("owner", "guest"),
        },
    ),
    "Shared": object_of({"url": {"type": ["string", "null"]}}),
    "Ended": object_of({"state": word_of("gone"), "reason": word_of(Reason.ENDED.value), "explanation": TEXT}),
    "Foreign": object_of(
        {"message": TEXT, "state": word_of("foreign"), "fresh_url": TEXT}, optional=("state", "fresh_url")
    ),
    "Gone": object_of(
        {
            "message": TEXT,
            "state": word_of("gone"),
            "reason": word_of(*(reason.value for reason in Reason), "unknown"),
            "explanation": TEXT,
            "fresh_url": TEXT,
        }
    ),
    "Health": object_of(
        {
            "ok": {"type": "boolean"},
            "checks": {
                "type": "array",
                "items": object_of(
                    {
                        "service": TEXT,
                        "ok": {"type": "boolean"},
                        "message": {"type": "string"},
                        "_ignore_failure": {"type": "boolean"},
                    },
                    optional=("message", "_ignore_failure"),
                ),
            },
        }
    ),
    "Notebook": object_of(
        {
            "id": TEXT,
            "pool": TEXT,
            "state": word_of(*(state.value for state in State)),
            "since": TIME,
            "idle_for": {"type": ["number", "null"], "description": "Seconds; null unless a visitor has it."},
        }
    ),
}
