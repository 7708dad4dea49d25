"""All probes of a run: each is reported, whatever it does, and the end says that none is missing."""

import json
from collections.abc import Callable

import pytest

from tmppool.audit.inside import calls, files, limits, network, privileges, run

ROOMS = (privileges, calls, files, limits, network)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def use(**probes: Callable[[], tuple[bool, str]]) -> None:
        for room in ROOMS:
            monkeypatch.setattr(room, "probes", lambda _facts: [])
        monkeypatch.setattr(calls, "probes", lambda _facts: list(probes.items()))

    return use


def test_each_probe_is_one_line_and_the_last_says_that_all_were_run(
    only: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    only(good=lambda: (True, "fine"), bad=lambda: (False, "it\nworked"))
    run.main({})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["name"], line["held"]) for line in lines] == [("good", True), ("bad", False), ("canary", True)]


def test_a_probe_that_fails_itself_does_not_hold_and_the_others_are_run(
    only: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    only(broken=lambda: (1 // 0, ""), good=lambda: (True, "fine"))
    run.main({})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["held"] for line in lines] == [False, True, True]
    assert "ZeroDivisionError" in lines[0]["detail"]
