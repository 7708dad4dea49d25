"""Output of an audit, as text and as JSON, and its exit status."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tmppool.audit.rule import Check, Severity, Status

HEALTHY, FINDINGS = 0, 3
"""Exit status: no check of severity high or critical failed; at least one did. 2 is a usage error."""

_TITLES = {
    "engine": "Engine",
    "kernel": "Kernel",
    "limits": "Limits that sum up",
    "settings": "Settings",
    "image": "Image",
    "cis": "CIS Docker Benchmark 1.6, section 5",
    "probes": "Probes from inside a container",
}
_STYLES = {Status.PASS: "green", Status.WAIVED: "cyan", Status.FAIL: "red", Status.UNKNOWN: "yellow"}


def exit_status(checks: Sequence[Check]) -> int:
    return FINDINGS if any(check.is_serious for check in checks) else HEALTHY


def summary(checks: Sequence[Check]) -> dict[str, Any]:
    """Count the checks by status, and the failed ones by severity."""
    counts = Counter(check.status for check in checks)
    failed = Counter(check.severity for check in checks if check.status is Status.FAIL)
    return {
        **{status.value: counts[status] for status in Status},
        "failed": {severity.value: failed[severity] for severity in Severity},
        "healthy": exit_status(checks) == HEALTHY,
    }


def as_json(version: str, checks: Sequence[Check]) -> str:
    """Return ``{"version", "checks": [{id, group, status, severity, seen, remedy}], "summary"}``."""
    lines = [check.as_json() for check in checks]
    return json.dumps({"version": version, "checks": lines, "summary": summary(checks)}, indent=1)


def show(checks: Sequence[Check], console: Console) -> None:
    """Print the checks that did not pass, by group and with remedies, and the number of those that passed."""
    with console.capture() as captured:
        _print(checks, console)
    console.file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())  # strip the table's padding


def _print(checks: Sequence[Check], console: Console) -> None:
    arrow = "->" if console.options.ascii_only else "→"
    for group, title in _TITLES.items():
        found = [check for check in checks if check.group == group]
        if not found:
            continue
        passed = sum(check.status is Status.PASS for check in found)
        console.print(f"\n[bold]{title}[/bold]: {passed} of {len(found)} pass")
        rest = [check for check in found if check.status is not Status.PASS]
        if rest:
            console.print(_table(rest, arrow))
    console.print(f"\n[bold]{_closing(checks)}[/bold]")


def _table(checks: Sequence[Check], arrow: str) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=True)
    for check in checks:
        style = _STYLES[check.status]
        weight = f" {check.severity}" if check.status is Status.FAIL else ""
        remedy = f"\n[dim]{arrow} {escape(check.remedy)}[/dim]" if check.status is Status.FAIL else ""
        said = f"{escape(check.seen)}{remedy}"
        table.add_row(f"[{style}]{check.status}{weight}[/{style}]", check.id, said)
    return table


def _closing(checks: Sequence[Check]) -> str:
    counted = summary(checks)
    serious = sum(check.is_serious for check in checks)
    if serious:
        verdict = "1 serious finding" if serious == 1 else f"{serious} serious findings"
    else:
        verdict = "Nothing serious" if counted["fail"] else "Healthy"
    rest = f"{counted['pass']} pass, {counted['waived']} waived, {counted['fail']} fail, {counted['unknown']} unknown"
    return f"{verdict}: {rest}."
