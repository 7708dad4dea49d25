"""The table of answers: each kind can be said to a person and to a program."""

import re
from pathlib import Path

import pytest

from tests.web.test_pages import VALUES
from tmppool.web import kinds, openapi
from tmppool.web.kinds import Cors, Kind, Shape
from tmppool.web.models import Error


def test_every_kind_is_one_of_its_own() -> None:
    assert len({id(kind.value) for kind in Kind}) == len(Kind.__members__) == len(list(Kind))


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_page_and_a_sentence_or_facts_that_hold_one(kind: Kind) -> None:
    shape = kind.shape
    assert isinstance(shape, Shape)
    assert shape.page in VALUES
    assert shape.title if shape.page == "error" else not shape.title
    assert shape.message.endswith(".") if shape.page == "error" else True
    assert "message" in shape.body.model_fields


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.LAUNCH])
def test_a_refusal_has_a_status_that_says_so(kind: Kind) -> None:
    assert 400 <= kind.shape.code < 600
    assert kind.shape.for_programs is None or 400 <= kind.shape.for_programs < 600


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_the_answer_to_something(kind: Kind) -> None:
    code = "".join(path.read_text() for path in Path(kinds.__file__).parent.glob("*.py"))
    assert re.search(rf"\bKind\.{kind.name}\b", code)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.shape.body is not Error])
def test_a_body_that_one_kind_has_is_described_with_its_status(kind: Kind) -> None:
    status, name = kind.shape.for_programs or kind.shape.code, kind.shape.body.__name__
    operations = [
        operation for item in openapi.public(with_pages=True)["paths"].values() for operation in item.values()
    ]
    described = [operation["responses"].get(str(status), {}) for operation in operations]
    assert any(f"/{name}'" in str(response) for response in described)


def test_any_page_may_read_why_its_program_gets_no_notebook_and_nothing_else() -> None:
    about_a_notebook = {Kind.GONE, Kind.UNKNOWN, Kind.FOREIGN, Kind.NOT_OWNER, Kind.UNREACHABLE, Kind.WRONG_HOST}
    about_a_notebook.add(Kind.PAUSED)
    about_the_request = {Kind.METHOD, Kind.MISSPELT, Kind.NO_STREAM, Kind.NOTHING}
    assert {kind for kind in Kind if kind.shape.cors is Cors.ANY} == about_a_notebook | about_the_request
