"""One table of limits: each is a setting that the README tells, reaches the container, and is proved inside."""

import resource
from dataclasses import fields, replace
from pathlib import Path

import pytest

from tests.specs import spec_of
from tmppool.audit import expectations
from tmppool.backends import preflight
from tmppool.backends.base import ImageFacts, Spec
from tmppool.backends.container import EngineFacts, container_config
from tmppool.backends.container_limits import LIMITS, ContainerLimit, Rlimit, probe_facts, refusals
from tmppool.pool_settings import PoolSettings

README = (Path(__file__).parents[2] / "README.md").read_text()
SPEC = spec_of("service", "main")
SET = [limit for limit in LIMITS if limit.field is not None]


def unproved(limits: tuple[ContainerLimit, ...]) -> list[ContainerLimit]:
    """Return limits that no probe proves although nothing says why, and those whose probe there is not."""
    there = expectations.names()
    return [
        limit for limit in limits if not there.issuperset(limit.proofs) or bool(limit.proofs) == bool(limit.unproven)
    ]


def test_each_limit_has_a_probe_or_says_why_not() -> None:
    assert unproved(LIMITS) == []


@pytest.mark.parametrize(
    "limit",
    [
        ContainerLimit("memory", "--mem-limit", ("Memory",)),
        ContainerLimit("memory", "--mem-limit", ("Memory",), probes=("nobody-wrote-this",)),
        ContainerLimit("memory", "--mem-limit", ("Memory",), probes=("memory-limit",), unproven="forgotten"),
        ContainerLimit(None, rlimit=Rlimit("rss", 5)),
    ],
    ids=["no probe", "a probe that is not there", "a probe and an excuse", "an rlimit beside the table"],
)
def test_a_limit_without_a_probe_is_found(limit: ContainerLimit) -> None:
    assert unproved((limit,)) == [limit]


def test_each_limit_goes_to_one_place() -> None:
    for limit in LIMITS:
        assert [bool(limit.keys), limit.rlimit is not None, limit.tmpfs is not None].count(True) == 1, limit


@pytest.mark.parametrize("limit", SET, ids=lambda limit: limit.field)
def test_each_setting_reaches_the_container_and_its_probes(limit: ContainerLimit) -> None:
    assert limit.field in {field.name for field in fields(Spec)}
    changed = replace(SPEC, **{limit.field: 7_654_321})
    bodies = [container_config(spec, "k", "t", ImageFacts(), EngineFacts(), uid=7) for spec in (SPEC, changed)]
    assert "7654321" not in str(bodies[0])
    assert str(bodies[1]).count("7654321") == (2 if limit.rlimit else max(1, len(limit.keys)))
    assert "7654321" in str(probe_facts(changed))


@pytest.mark.parametrize("limit", SET, ids=lambda limit: limit.field)
def test_each_limit_is_a_setting_with_a_row_in_the_readme(limit: ContainerLimit) -> None:
    name = limit.option.removeprefix("--").replace("-", "_")
    assert name in PoolSettings.model_fields
    rows = [line for line in README.splitlines() if line.startswith("|") and f"`{limit.option}`" in line]
    assert any(line.startswith(f"| `{limit.option}` |") for line in rows)
    # The second row says how far down it works.
    assert len(rows) >= 2 or limit.unproven, f"{limit.option} is missing among the limits that were tried"


def test_a_limit_that_is_left_out_is_not_told_to_the_engine() -> None:
    found = container_config(replace(SPEC, cpu_quota=None, cpu_shares=None), "k", "t", ImageFacts(), uid=7)[
        "HostConfig"
    ]
    assert not {"CpuQuota", "CpuShares"} & found.keys()


@pytest.mark.parametrize("rlimit", [limit.rlimit for limit in LIMITS if limit.rlimit], ids=lambda rlimit: rlimit.name)
def test_the_kernels_numbers_are_those_of_the_standard_library(rlimit: Rlimit) -> None:
    assert rlimit.number == getattr(resource, f"RLIMIT_{rlimit.name.upper()}")


def test_a_refusal_names_every_setting_that_it_may_be_about() -> None:
    rlimits = [limit.option for limit in SET if limit.rlimit]
    assert [option for option in rlimits if option not in dict(refusals())["rlimit"]] == []
    assert dict(refusals())["rlimit"].startswith("--nofile-limit, --memlock-limit")
    assert dict(refusals())["cpu"] == "--cpu-quota or --cpu-shares"
    assert dict(refusals())["memory limit"] == "--mem-limit"
    assert set(refusals()) <= set(preflight._REFUSALS)
