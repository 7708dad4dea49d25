"""Facts that the documents do not hold, without which every request would be refused: the pool, keys, tickets."""

import re
from typing import Any

import requests
import schemathesis

POOL = "tmppool"  # what the service calls its one pool
KEY = "$response.body#/url#regex:/user/([^/]+)/$"
TICKET = re.compile(r'name="ticket" value="([^"]+)"')


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Say which pool there is, and which answers hold the keys that other requests ask for."""
    operations = [
        (path, operation)
        for path, item in raw_schema["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]
    for _, operation in operations:
        for parameter in operation.get("parameters", ()):
            if parameter["name"] == "pool":
                parameter["schema"] = {"enum": [POOL]}
    named = {operation["operationId"]: operation for _, operation in operations}
    if "spawn" in named:
        sessions = [operation["operationId"] for path, operation in operations if path.startswith("/api/session/")]
        named["spawn"]["responses"]["200"]["links"] = {
            name: {"operationId": name, "parameters": {"key": KEY, "token": "$response.body#/token"}}
            for name in sessions
        }
    if "notebooks" in named:
        named["notebooks"]["responses"]["200"]["links"] = {
            "end": {"operationId": "endNotebook", "parameters": {"key": "$response.body#/notebooks/0/id"}}
        }


@schemathesis.hook.apply_to(method="POST", path="/spawn")
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Bring a launch page's own cookie and ticket, as a browser does, where the form is in order."""
    if case.meta is None or not case.meta.generation.mode.is_positive or not isinstance(case.body, dict):
        return
    page = requests.get(f"{case.operation.base_url.rstrip('/')}/spawn", timeout=60)
    found = TICKET.search(page.text)
    assert found is not None
    case.body["ticket"] = found[1]
    case.cookies.update(page.cookies.get_dict())
