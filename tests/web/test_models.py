"""The JSON bodies: the fields, their order and their names are what programs have been reading."""

import json
from typing import Any

import pydantic
import pytest

from tmppool.notebook import Reason, State
from tmppool.web import models
from tmppool.web.tokens import Role

ENDS = {"expires_at": None, "idle_expires_at": 2.5}
NOTEBOOK = {"id": "i", "pool": "p", "state": "warm", "since": 1.0, "idle_for": None}
CASES: list[tuple[models.Body, dict[str, Any]]] = [
    (models.Error(message="m"), {"message": "m"}),
    (
        models.Spawned(url="/user/k/", token="t", pool="p", expires_at=None, idle_expires_at=2.5),
        {"url": "/user/k/", "token": "t", "pool": "p", **ENDS},
    ),
    (models.Full(message="m"), {"status": "full", "message": "m"}),
    (models.Limited(message="m"), {"status": "limited", "message": "m"}),
    (models.Held(message="m"), {"status": "held", "message": "m"}),
    (models.Warming(message="m"), {"status": "warming", "message": "m"}),
    (models.WrongCode(message="m"), {"status": "wrong-code", "message": "m"}),
    (
        models.Stats(available=3, capacity=9, version="v", container_image="i", starting=1, warm=3, assigned=5),
        {
            "available": 3,
            "capacity": 9,
            "version": "v",
            "container_image": "i",
            "starting": 1,
            "warm": 3,
            "assigned": 5,
        },
    ),
    (
        models.Session(now=1.5, role=Role.GUEST, expires_at=None, idle_expires_at=2.5),
        {"state": "live", "now": 1.5, "role": "guest", **ENDS},
    ),
    (
        models.CutOffSession(now=1.5, role=Role.GUEST, expires_at=None, idle_expires_at=2.5),
        {"state": "live", "now": 1.5, "role": "guest", **ENDS, "cut_off": True},
    ),
    (models.Ended(explanation="e"), {"state": "gone", "reason": "ended", "explanation": "e"}),
    (models.Shared(url=None), {"url": None}),
    (
        models.Gone(message="e", reason="unknown", explanation="e", fresh_url="/lab"),
        {"message": "e", "state": "gone", "reason": "unknown", "explanation": "e", "fresh_url": "/lab"},
    ),
    (
        models.Gone(message="e", reason=Reason.IDLE, explanation="e", fresh_url="/lab"),
        {"message": "e", "state": "gone", "reason": "idle", "explanation": "e", "fresh_url": "/lab"},
    ),
    (
        models.Foreign(message="m", fresh_url="/lab"),
        {"message": "m", "state": "foreign", "fresh_url": "/lab"},
    ),
    (
        models.Health(
            ok=False,
            checks=[models.Check(service="a", ok=False, state="degraded"), models.Advisory(service="b", ok=True)],
        ),
        {
            "ok": False,
            "checks": [
                {"service": "a", "ok": False, "state": "degraded"},
                {"service": "b", "ok": True, "_ignore_failure": True},
            ],
        },
    ),
    (
        models.HealthReport(ok=False, checks=[models.DetailedCheck(service="a", ok=False, message="m")]),
        {"ok": False, "checks": [{"service": "a", "ok": False, "message": "m"}]},
    ),
    (models.BuildEvent(phase="waiting", message="m"), {"phase": "waiting", "message": "m"}),
    (
        models.Ready(message="m", url="http://h/user/k/", token="t", pool="p"),
        {"phase": "ready", "message": "m", "url": "http://h/user/k/", "token": "t", "pool": "p"},
    ),
    (
        models.BinderVersions(binderhub="1"),
        {"binderhub": "1", "builder": "none: notebooks run images that the operator has built"},
    ),
    (models.HubVersion(version="5"), {"version": "5"}),
    (
        models.Documents(
            pool="p", pools=["p", "r"], is_complete=True, documents=[models.Listed(path="a.ipynb", title="A")]
        ),
        {"pool": "p", "pools": ["p", "r"], "is_complete": True, "documents": [{"path": "a.ipynb", "title": "A"}]},
    ),
    (
        models.OEmbedLink(title="t", provider_url="u", thumbnail_url="p"),
        {
            "version": "1.0",
            "type": "link",
            "title": "t",
            "provider_name": "tmppool",
            "provider_url": "u",
            "thumbnail_url": "p",
        },
    ),
    (
        models.OEmbedFrame(title="t", provider_url="u", thumbnail_url="p", html="h", width=1, height=2),
        {
            "version": "1.0",
            "type": "rich",
            "title": "t",
            "provider_name": "tmppool",
            "provider_url": "u",
            "thumbnail_url": "p",
            "html": "h",
            "width": 1,
            "height": 2,
        },
    ),
    (models.Drained(drained=3), {"drained": 3}),
    (
        models.Notebooks(
            notebooks=[models.Notebook(id="i", pool="p", state=State.WARM, since=1.0, idle_for=None)],
        ),
        {"notebooks": [NOTEBOOK]},
    ),
]
KINDS = [*models.Body.__subclasses__(), *models.Session.__subclasses__()]
BODIES = [kind for kind in KINDS if kind is not models.LaunchForm]


@pytest.mark.parametrize(("body", "wanted"), CASES, ids=[type(body).__name__ for body, _ in CASES])
def test_a_body_is_byte_for_byte_this_json(body: models.Body, wanted: dict[str, Any]) -> None:
    assert models.to_response(body).body == json.dumps(wanted).encode()


def test_every_body_is_among_these_cases() -> None:
    inside = {models.Check, models.DetailedCheck, models.Advisory, models.Notebook, models.Listed}
    assert {type(body) for body, _ in CASES} | inside == set(BODIES)


@pytest.mark.parametrize("kind", BODIES, ids=lambda kind: kind.__name__)
def test_the_schema_of_a_body_names_each_field_and_requires_it(kind: type[models.Body]) -> None:
    schema = kind.model_json_schema(mode="serialization")
    assert schema["additionalProperties"] is False
    assert schema["required"] == list(schema["properties"])


def test_a_field_that_no_model_names_is_a_bug() -> None:
    with pytest.raises(pydantic.ValidationError):
        models.Error(message="m", status="full")  # type: ignore[call-arg]


def test_an_answer_is_json_that_is_not_kept_unless_it_says_so() -> None:
    answer = models.to_response(models.Error(message="m"), 429, {"Retry-After": "3"})
    assert (answer.status, answer.content_type) == (429, "application/json")
    assert (answer.headers["Cache-Control"], answer.headers["Retry-After"]) == ("no-store", "3")
    kept = models.to_response(models.Error(message="m"), headers={"Cache-Control": "max-age=60"})
    assert kept.headers["Cache-Control"] == "max-age=60"
