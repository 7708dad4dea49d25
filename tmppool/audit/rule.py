"""Rules and their results, checks: status, severity, observation and remedy."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar


class Status(StrEnum):
    """The status of a check. Unknown is never a pass. Waived: it failed, for a reason that the check states."""

    PASS = "pass"  # noqa: S105 - no password
    WAIVED = "waived"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """High: a visitor may harm others or the host. Critical: a visitor may take the host."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


F = TypeVar("F")

SERIOUS = frozenset({Severity.HIGH, Severity.CRITICAL})
"""A failed check of these severities makes the audit's exit status 3."""

Opinion = tuple[Status, str]
"""A judge's result: the status, and the observation as one sentence."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the audit."""

    id: str
    group: str
    status: Status
    severity: Severity
    seen: str
    remedy: str

    @property
    def is_serious(self) -> bool:
        return self.status is Status.FAIL and self.severity in SERIOUS

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Rule(Generic[F]):
    """A named rule. ``judge`` is a pure function of the facts."""

    id: str
    group: str
    severity: Severity
    remedy: str
    judge: Callable[[F], Opinion]

    def check(self, facts: F) -> Check:
        status, seen = self.judge(facts)
        return Check(self.id, self.group, status, self.severity, seen, self.remedy)


def passes(seen: str) -> Opinion:
    return Status.PASS, seen


def fails(seen: str) -> Opinion:
    return Status.FAIL, seen


def unknown(seen: str) -> Opinion:
    return Status.UNKNOWN, seen


def holds(is_so: object, seen: str, otherwise: str = "") -> Opinion:
    """Return PASS with ``seen``, or FAIL with ``otherwise``, which defaults to ``seen``."""
    return (Status.PASS, seen) if is_so else (Status.FAIL, otherwise or seen)
