"""What the probes compare with, and which there are."""

import json
import re

import pytest

from tests.specs import spec_of
from tmppool.audit import engine_rules, expectations, machine_sums, settings_rules
from tmppool.audit.inside import run
from tmppool.backends import container
from tmppool.backends.base import Spec

SPEC = spec_of("service", "main")


def probes(spec: Spec) -> list[str]:
    facts = json.loads(
        json.dumps(expectations.facts(spec, "/home/me", dict.fromkeys(expectations.TARGETS[spec.network], ())))
    )
    return [name for name, _ in run.probes(facts)]


def test_the_facts_survive_json_and_name_each_probe_once() -> None:
    names = probes(SPEC)
    assert len(names) == len(set(names))
    assert len(names) > 80
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)


def test_each_masked_path_has_a_probe_of_its_own() -> None:
    masked = [name for name in probes(SPEC) if name.startswith("masked-")]
    assert len(masked) == len(container.MASKED)
    assert {"masked-kcore", "masked-timers", "masked-firmware", "masked-pressure", "masked-key-users"} <= set(masked)


def test_a_name_means_one_thing_in_probes_and_rules() -> None:
    rules = [rule.id for rule in (*engine_rules.RULES, *settings_rules.RULES)]
    assert not expectations.names() & {*rules, *machine_sums.RISKS}
    assert len(rules) == len(set(rules))


def test_each_network_has_its_own_probes_and_together_they_are_all() -> None:
    each = {network: expectations.names(network) for network in expectations.TARGETS}
    assert frozenset().union(*each.values()) == expectations.names()
    assert "interfaces" in each["none"]
    assert "reach-neighbour" in each["isolated"]
    assert "reach-outside" not in each["bridge"]


@pytest.mark.parametrize(
    ("spec", "name", "is_choice"),
    [
        (SPEC, "reach-metadata", False),
        (spec_of("", "", network="isolated"), "reach-gateway", False),
        (spec_of("", "", network="bridge"), "reach-gateway", True),
        (spec_of("", "", network="bridge"), "reach-metadata", True),
        (spec_of("", "", network="bridge"), "reach-neighbour", False),
        (spec_of("", "", seccomp="engine"), "call-ptrace", True),
        (spec_of("", "", seccomp="engine"), "socket-alg", True),
        (spec_of("", "", seccomp="engine"), "seccomp-filter", False),
        (SPEC, "call-ptrace", False),
    ],
)
def test_only_what_a_setting_opens_is_a_choice(spec: Spec, name: str, *, is_choice: bool) -> None:
    assert expectations.is_choice(spec, name) is is_choice
    assert name in expectations.names()


@pytest.mark.parametrize(
    ("user", "wanted"), [(None, [20_000, 29_999]), ("1000:100", [1000, 1000]), ("jovyan", [1, 2**32 - 2])]
)
def test_the_user_numbers_that_a_notebook_may_have(user: str | None, wanted: list[int]) -> None:
    assert expectations.facts(spec_of("", "", user=user), "/home/me", {})["uids"] == wanted
