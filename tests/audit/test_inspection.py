"""``tmppool audit`` as a whole, on a live service and beside one."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import IMAGE, ROOT, running
from tests.specs import spec_of
from tmppool.audit import expectations, inspection
from tmppool.audit.canary import Canary, Result
from tmppool.audit.rule import Check, Severity, Status

SPEC = spec_of("service", "main")
ALL = tuple(Result(name, True, "fine") for name in expectations.names("none"))


def missing(*names: str) -> tuple[Result, ...]:
    return tuple(Result(result.name, result.name not in names, "seen") for result in ALL)


def status(checks: list[Check]) -> dict[str, str]:
    return {check.id: check.status.value for check in checks}


def test_each_probe_is_one_check() -> None:
    assert status(inspection.probe_checks([(SPEC, Canary(ALL, {}))])) == dict.fromkeys(
        expectations.names("none"), "pass"
    )


def test_of_several_canaries_the_worst_counts() -> None:
    found = [(SPEC, Canary(results, {})) for results in (ALL, missing("devices"), ALL)]
    assert status(inspection.probe_checks(found))["devices"] == "fail"


def test_what_was_not_tried_is_unknown() -> None:
    found = status(inspection.probe_checks([(SPEC, Canary((Result("canary", False, "no python3"),), {}))]))
    assert found.pop("canary") == "fail"
    assert set(found.values()) == {"unknown"}
    assert found.keys() == expectations.names("none") - {"canary"}


def test_what_a_setting_opens_weighs_less_but_the_clouds_credentials() -> None:
    spec = spec_of("service", "main", network="bridge")
    results = tuple(Result(name, False, "seen") for name in ("reach-gateway", "reach-metadata", "reach-neighbour"))
    weights = {check.id: check.severity for check in inspection.probe_checks([(spec, Canary(results, {}))])}
    assert weights == {
        "reach-gateway": Severity.MEDIUM,
        "reach-metadata": Severity.CRITICAL,
        "reach-neighbour": Severity.CRITICAL,
    }


@pytest.mark.parametrize(
    ("name", "group", "before", "after"),
    [
        ("devices", "probes", Status.FAIL, Status.WAIVED),
        ("pids-sum", "limits", Status.FAIL, Status.WAIVED),
        ("devices", "probes", Status.PASS, Status.PASS),
        ("memory-sum", "limits", Status.FAIL, Status.FAIL),
    ],
)
def test_an_accepted_risk_is_waived_and_told(name: str, group: str, before: Status, after: Status) -> None:
    found = inspection._waived(Check(name, group, before, Severity.HIGH, "seen", ""))
    assert found.status is after
    assert (found.seen == "accepted by --accept-risk: seen") is (after is Status.WAIVED)


async def audit(*options: str) -> tuple[int, dict[str, Any]]:
    """Run ``tmppool audit --json`` as an operator does."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tmppool", "audit", "--json", *options, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    return child.returncode or 0, json.loads(out)


@pytest.mark.engine
async def test_a_live_service_passes_the_probes_and_the_benchmark_but_for_what_is_waived(tmp_path: Path) -> None:
    async with running(tmp_path, "docker", "--pool-size=2", warm=2) as service:
        await service.spawn()
        code, told = await audit(*service.options)
        assert len(await service.notebooks()) == 2
    group = {name: [check for check in told["checks"] if check["group"] == name] for name in ("cis", "probes")}
    assert {check["status"] for check in group["probes"]} == {"pass"}
    assert [check for check in group["cis"] if check["status"] not in ("pass", "waived")] == []
    assert "(2 inspected)" in next(check["seen"] for check in group["cis"] if check["id"] == "cis-5.5-privileged")
    serious = [c for c in told["checks"] if c["status"] == "fail" and c["severity"] in ("high", "critical")]
    assert code == (3 if serious else 0)
    assert told["summary"]["pass"] == sum(check["status"] == "pass" for check in told["checks"])


@pytest.mark.engine
async def test_limits_past_the_machine_are_a_finding_and_none_when_accepted() -> None:
    options = (
        "--backend=docker",
        f"--image={IMAGE}",
        "--pool-name=test-audit",
        "--pool-size=9000",
        "--pids-limit=9999",
    )
    code, told = await audit(*options)
    found = {check["id"]: check for check in told["checks"]}
    assert (code, found["pids-sum"]["status"], found["pids-sum"]["severity"]) == (3, "fail", "high")
    assert found["memory-sum"]["status"] == "fail"
    _, told = await audit(*options, "--accept-risk=pids-sum")
    assert {check["id"]: check["status"] for check in told["checks"]}["pids-sum"] == "waived"


@pytest.mark.engine
async def test_without_a_live_notebook_the_benchmark_is_judged_on_the_canary() -> None:
    _, told = await audit("--backend=docker", f"--image={IMAGE}", "--pool-name=test-audit")
    found = [check for check in told["checks"] if check["group"] == "cis"]
    assert [check for check in found if check["status"] not in ("pass", "waived")] == []
    assert "(1 inspected)" in next(check["seen"] for check in found if check["id"] == "cis-5.13-read-only-root")


@pytest.mark.engine
async def test_an_image_that_is_missing_is_a_mistake_of_the_callers() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tmppool", "audit", "--backend=docker", "--image=nobody/nothing:1",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, said = await child.communicate()
    assert (child.returncode, out) == (2, b"")
    assert said.decode().startswith("tmppool: image nobody/nothing:1 is not on the engine")
