"""The container section of the CIS Docker Benchmark: our own containers pass, each deviation is found by its number."""

import copy
from typing import Any

import pytest

from tests.specs import spec_of
from tmppool.audit import cis
from tmppool.audit.cis import Containers
from tmppool.audit.rule import Check, Status
from tmppool.backends.base import ImageFacts
from tmppool.backends.container import container_config

INFO = {"Swarm": {"LocalNodeState": "inactive"}, "SecurityOptions": ["name=seccomp"]}
IMAGE = "sha256:1"


def shown() -> dict[str, Any]:
    """What an engine shows of a container that is made as ours are."""
    body = container_config(spec_of("service", "main"), "key", "token", ImageFacts(id=IMAGE), uid=20_000)
    return {"Image": IMAGE, "Config": body, "HostConfig": body["HostConfig"], "Mounts": [], "ExecIDs": None}


def checks(container: dict[str, Any] | None = None, info: dict[str, Any] | None = None) -> dict[str, Check]:
    facts = Containers({"abc": container or shown()}, frozenset({IMAGE}), {**INFO, **(info or {})})
    return {rule.id: rule.check(facts) for rule in cis.RULES}


def test_a_container_of_ours_passes_but_for_what_is_waived_with_a_reason() -> None:
    found = checks()
    assert {name for name, check in found.items() if check.status is Status.FAIL} == set()
    waived = {name: check.seen for name, check in found.items() if check.status is Status.WAIVED}
    assert set(waived) == {"cis-5.2-apparmor", "cis-5.3-selinux", "cis-5.27-health-check"}
    assert all(len(seen) > 20 for seen in waived.values())


def test_every_number_of_the_section_is_there_once() -> None:
    numbers = [int(rule.id.split("-")[1].partition(".")[2]) for rule in cis.RULES]
    assert numbers == list(range(1, 33))


def test_without_containers_nothing_passes() -> None:
    assert {rule.check(Containers()).status for rule in cis.RULES} <= {Status.UNKNOWN}


HOST = "HostConfig"
MOUNT = {"Source": "/srv/data", "Destination": "/data", "Propagation": "rprivate"}
FAILING: list[tuple[int, str, str, Any]] = [
    (4, HOST, "CapDrop", []),
    (4, HOST, "CapAdd", ["NET_RAW"]),
    (5, HOST, "Privileged", True),
    (6, "", "Mounts", [{**MOUNT, "Source": "/etc"}]),
    (7, "Config", "Cmd", ["/usr/sbin/sshd", "-D"]),
    (8, HOST, "PortBindings", {"80/tcp": [{"HostPort": "80"}]}),
    (9, HOST, "PublishAllPorts", True),
    (14, "", "NetworkSettings", {"Ports": {"80/tcp": [{"HostPort": "80"}]}}),
    (10, HOST, "NetworkMode", "host"),
    (11, HOST, "Memory", 0),
    (12, HOST, "CpuShares", 0),
    (13, HOST, "ReadonlyRootfs", False),
    (15, HOST, "RestartPolicy", {"Name": "always"}),
    (16, HOST, "PidMode", "host"),
    (17, HOST, "IpcMode", "host"),
    (18, HOST, "Devices", [{"PathOnHost": "/dev/sda"}]),
    (19, HOST, "Ulimits", []),
    (20, "", "Mounts", [{**MOUNT, "Propagation": "rshared"}]),
    (21, HOST, "UTSMode", "host"),
    (22, HOST, "SecurityOpt", ["no-new-privileges:true", "seccomp=unconfined"]),
    (23, "", "ExecIDs", ["1"]),
    (24, "", "ExecIDs", ["1"]),
    (25, HOST, "CgroupParent", "/other"),
    (26, HOST, "SecurityOpt", []),
    (27, "Config", "Healthcheck", {"Test": ["CMD", "true"]}),
    (28, "", "Image", "sha256:0"),
    (29, HOST, "PidsLimit", 0),
    (30, HOST, "NetworkMode", "default"),
    (31, HOST, "UsernsMode", "host"),
    (32, "", "Mounts", [{**MOUNT, "Source": "/var/run/docker.sock"}]),
]


@pytest.mark.parametrize(("number", "part", "name", "value"), FAILING)
def test_a_deviation_is_found_by_its_number(number: int, part: str, name: str, value: Any) -> None:
    container = copy.deepcopy(shown())
    (container[part] if part else container)[name] = value
    found = [check for check in checks(container).values() if check.status is Status.FAIL]
    assert number in [int(check.id.split("-")[1].partition(".")[2]) for check in found]
    assert all("abc" in check.seen for check in found)


def test_every_rule_of_containers_has_a_case_in_which_it_fails() -> None:
    assert {number for number, *_ in FAILING} == set(range(1, 33)) - {1, 2, 3}


def test_a_swarm_is_told() -> None:
    assert checks(info={"Swarm": {"LocalNodeState": "active"}})["cis-5.1-swarm"].status is Status.FAIL


@pytest.mark.parametrize(
    ("profile", "status"), [("docker-default", Status.PASS), ("unconfined", Status.FAIL), ("", Status.FAIL)]
)
def test_where_the_host_has_apparmor_each_container_needs_a_profile(profile: str, status: Status) -> None:
    container = {**shown(), "AppArmorProfile": profile}
    found = checks(container, info={"SecurityOptions": ["name=apparmor"]})
    assert found["cis-5.2-apparmor"].status is status


def test_only_a_few_of_many_containers_are_named() -> None:
    many = {f"number-{each}": {**shown(), "ExecIDs": ["1"]} for each in range(9)}
    found = next(rule for rule in cis.RULES if rule.id == "cis-5.23-privileged-exec").check(Containers(many))
    assert found.seen == "commands run from outside: number-0, number-1, number-2 and more"
