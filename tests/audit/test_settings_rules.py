"""What the settings ask of the machine, and the images: tables."""

import pytest

from tests.specs import spec_of
from tmppool.audit import settings_rules
from tmppool.audit.machine import Facts
from tmppool.audit.machine_sums import Planned
from tmppool.audit.rule import Status
from tmppool.audit.settings_rules import Deployment
from tmppool.backends.base import ImageFacts

GIB = 1 << 30
RULES = {rule.id: rule for rule in settings_rules.RULES}


def image(user: str = "1000:100", *env: str) -> dict[str, object]:
    return {"Config": {"User": user, "Env": list(env)}}


def plan(
    capacity: int = 10,
    admin_ip: str = "127.0.0.1",
    shown: dict[str, object] | None = None,
    left_out: tuple[str, ...] = (),
    **limits: object,
) -> Deployment:
    machine = Facts(
        info={"MemTotal": 24 * GIB},
        kernel={"pid_max": "32768", "threads_max": "190000", "file_max": "20000000"},
        images={"workshop": image() if shown is None else shown},
    )
    homes = {"workshop": ImageFacts(left_out=left_out)}
    return Deployment((Planned("main", capacity, spec_of("service", "main", **limits)),), machine, admin_ip, homes)


def test_the_defaults_pass() -> None:
    assert [name for name, rule in RULES.items() if rule.check(plan()).status is not Status.PASS] == []


def test_what_needs_a_machine_or_an_image_is_unknown_without() -> None:
    nothing = Deployment(plan().pools, Facts())
    unknown = {name for name, rule in RULES.items() if rule.check(nothing).status is Status.UNKNOWN}
    of_image = {"image-user", "image-home", "image-secrets"}
    assert unknown == {"pids-sum", "memory-of-one", "memory-sum", "files-sum", *of_image}


FAILING = [
    ("pids-sum", plan(300, pids=128), "38400 processes"),
    ("memory-of-one", plan(1, memory=25 * GIB), "pool main (25600 MiB)"),
    ("memory-sum", plan(30), "up to 30720 MiB"),
    ("tmpfs-sum", plan(memory=256 << 20), "hold 448 MiB together"),
    ("files-sum", plan(nofile=65_536), "167772160 files"),
    ("one-user-each", plan(user="1000:100"), "pool main are one user"),
    ("network", plan(network="bridge"), "main is bridge"),
    ("system-calls", plan(seccomp="engine"), "main has engine"),
    ("admin-listener", plan(admin_ip="0.0.0.0"), "0.0.0.0"),
    ("image-user", plan(shown=image("")), "workshop would run as root"),
    ("image-user", plan(shown=image("0:0")), "workshop would run as root"),
    (
        "image-home",
        plan(left_out=("'/home/jovyan/a' (mode 0600, x)",)),
        "image workshop: '/home/jovyan/a' (mode 0600, x)",
    ),
    ("image-secrets", plan(shown=image("1", "AWS_SECRET_ACCESS_KEY=x")), "AWS_SECRET_ACCESS_KEY in workshop"),
    ("image-secrets", plan(shown=image("1", "A=1", "DB_PASSWORD=x")), "DB_PASSWORD in workshop"),
]


@pytest.mark.parametrize(("name", "wrong", "seen"), FAILING, ids=[f"{name} {seen}" for name, _, seen in FAILING])
def test_what_is_wrong_fails_and_says_what_was_seen(name: str, wrong: Deployment, seen: str) -> None:
    found = RULES[name].check(wrong)
    assert found.status is Status.FAIL
    assert seen in found.seen


def test_every_rule_has_a_case_in_which_it_fails() -> None:
    assert {name for name, _, _ in FAILING} == set(RULES)


@pytest.mark.parametrize("variable", ["DB_PASSWORD=", "KEYBOARD=de", "MONKEY=1", "TURKEY_SIZE=2", "GPG_KEY=7169605F"])
def test_a_variable_that_is_empty_or_only_sounds_alike_is_no_secret(variable: str) -> None:
    assert RULES["image-secrets"].check(plan(shown=image("1", variable))).status is Status.PASS


def test_the_value_of_a_secret_is_not_told() -> None:
    found = RULES["image-secrets"].check(plan(shown=image("1", "API_TOKEN=hunter2")))
    assert "hunter2" not in found.seen
