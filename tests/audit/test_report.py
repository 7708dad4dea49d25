"""An audit as people and programs get it."""

import io
import json

import pytest
from rich.console import Console

from tmppool.audit import report
from tmppool.audit.rule import Check, Severity, Status


def check(status: Status, severity: Severity = Severity.HIGH, name: str = "one", group: str = "engine") -> Check:
    return Check(name, group, status, severity, "[seen] this", "do that.")


@pytest.mark.parametrize(
    ("checks", "status"),
    [
        ([], 0),
        ([check(Status.PASS, Severity.CRITICAL)], 0),
        ([check(Status.FAIL, Severity.LOW), check(Status.FAIL, Severity.MEDIUM)], 0),
        ([check(Status.WAIVED, Severity.CRITICAL), check(Status.UNKNOWN, Severity.CRITICAL)], 0),
        ([check(Status.PASS), check(Status.FAIL, Severity.HIGH)], 3),
        ([check(Status.FAIL, Severity.CRITICAL)], 3),
    ],
)
def test_only_a_serious_failure_makes_the_exit_status_3(checks: list[Check], status: int) -> None:
    assert report.exit_status(checks) == status
    assert report.summary(checks)["healthy"] is (status == 0)


def test_json_is_one_object_with_every_check() -> None:
    found = json.loads(report.as_json("1.2.3", [check(Status.FAIL), check(Status.PASS, name="two")]))
    assert found["version"] == "1.2.3"
    assert found["checks"][0] == {
        "id": "one",
        "group": "engine",
        "status": "fail",
        "severity": "high",
        "seen": "[seen] this",
        "remedy": "do that.",
    }
    assert found["summary"] == {
        "pass": 1,
        "waived": 0,
        "fail": 1,
        "unknown": 0,
        "failed": {"low": 0, "medium": 0, "high": 1, "critical": 0},
        "healthy": False,
    }


def shown(*checks: Check) -> str:
    out = io.StringIO()
    report.show(checks, Console(file=out, width=100))
    return out.getvalue()


def test_people_read_what_does_not_pass_and_its_remedy() -> None:
    text = shown(check(Status.FAIL), check(Status.PASS, name="quiet"), check(Status.UNKNOWN, name="odd", group="cis"))
    assert "Engine: 1 of 2 pass" in text
    assert "fail high" in text
    assert "[seen] this" in text
    assert "→ do that." in text
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    assert "quiet" not in text
    assert "unknown" in text
    assert text.rstrip().endswith("1 serious finding: 1 pass, 0 waived, 1 fail, 1 unknown.")


def test_a_healthy_service_is_called_so() -> None:
    assert shown(check(Status.PASS)).rstrip().endswith("Healthy: 1 pass, 0 waived, 0 fail, 0 unknown.")


def test_findings_that_are_not_serious_do_not_make_it_healthy() -> None:
    text = shown(check(Status.FAIL, Severity.MEDIUM), check(Status.WAIVED))
    assert text.rstrip().endswith("Nothing serious: 0 pass, 1 waived, 1 fail, 0 unknown.")


def test_an_output_that_knows_ascii_only_gets_no_more() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    report.show([check(Status.FAIL)], Console(file=out, width=100))
    out.seek(0)
    assert "-> do that." in out.read()
