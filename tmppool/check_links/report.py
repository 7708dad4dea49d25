"""A check of links as text, as JSON and as annotations of GitHub's workflows. Pure.

What a page or a file's name holds is not trusted: it is shown without control characters, so that it can neither begin
a line nor steer a terminal or a workflow. Source: GitHub Actions, "Workflow commands"; the runner reads ``::`` at the
start of a line and, as its older form, ``##[`` anywhere in one.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmppool.check_links.files import Tally
from tmppool.check_links.judge import Finding

_MOST_SHOWN = 300  # characters of a link
_IN_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTY = {**_IN_MESSAGE, ":": "%3A", ",": "%2C"}


@dataclass(frozen=True, slots=True)
class Check:
    """All that was checked; ``links`` counts those that were found."""

    services: Sequence[str]
    findings: Sequence[Finding]
    links: int
    tally: Tally

    @property
    def problems(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.is_problem]


def as_text(check: Check) -> Iterator[str]:
    """Yield a line for each problem, as compilers write them, and what was checked."""
    yield from map(_line, check.problems)
    yield from _closing(check)


def as_json(version: str, check: Check) -> str:
    """Return ``{"version", "services", "files", "links", "problems": […], "unjudged": […], "skipped"}``."""
    found = {
        "version": version,
        "services": check.services,
        "files": check.tally.read,
        "links": check.links,
        "problems": [_json(finding) for finding in check.problems],
        "unjudged": [_json(finding) for finding in check.findings if not finding.is_problem],
        "skipped": [{"reason": why, "files": names} for why, names in check.tally.skipped.items()],
    }
    return json.dumps(found, indent=1)


def as_annotations(check: Check, repository: str | None) -> Iterator[str]:
    """Yield a command of GitHub's workflows for each problem. ``repository``: its folder."""
    for finding in check.problems:
        link = finding.link
        where = {"file": _within(link.file, repository), "line": link.line, "col": link.column, "title": "check-links"}
        properties = ",".join(f"{name}={_escaped(shown(str(value)), _IN_PROPERTY)}" for name, value in where.items())
        yield f"::error {properties}::{_escaped(shown(_told(finding)), _IN_MESSAGE)}"
    yield from (f"::notice::{_escaped(line, _IN_MESSAGE)}" for line in _closing(check))


def shown(text: str) -> str:
    """Return text of others on one line, with escapes for what cannot be seen."""
    seen = "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )
    return seen.replace("##", "#\\x23")


def _line(finding: Finding) -> str:
    link = finding.link
    line = shown(f"{link.file}:{link.line}:{link.column}: {_told(finding)}")
    return f"./{line}" if line.startswith("::") else line


def _told(finding: Finding) -> str:
    written = finding.link.written
    return f"{written if len(written) <= _MOST_SHOWN else f'{written[:_MOST_SHOWN]}…'}: {finding.message}"


def _closing(check: Check) -> Iterator[str]:
    """Yield what was checked, what was not and why."""
    count = len(check.problems)
    files = len({finding.link.file for finding in check.problems})
    verdict = f"{_count(count, 'problem')} in {_count(files, 'file')}" if count else "No problems"
    if not check.links:
        verdict = "Nothing to check, unless the links have another host name"
    looked_at = f"{_count(check.links, 'link')} to {', '.join(check.services)} in {_count(check.tally.read, 'file')}"
    yield f"{verdict}: {looked_at}."
    unjudged = Counter(finding.message for finding in check.findings if not finding.is_problem)
    for why, links in unjudged.items():
        first = next(finding.link for finding in check.findings if finding.message == why)
        yield shown(f"Not judged: {_count(links, 'link')}, the first in {first.file}:{first.line}: {why}.")
    for why, names in check.tally.skipped.items():
        yield shown(f"Left out: {_count(len(names), 'file')}, the first {names[0]}, which {why}.")


def _count(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _json(finding: Finding) -> dict[str, Any]:
    link = finding.link
    return {
        "file": link.file,
        "line": link.line,
        "column": link.column,
        "link": link.written,
        "subject": finding.subject,
        "message": finding.message,
        "near": finding.near,
    }


def _escaped(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(char, char) for char in text)


def _within(file: str, repository: str | None) -> str:
    """Return a file's path in the repository, if it is in there."""
    if not repository:
        return file
    path = Path(file).absolute()
    return str(path.relative_to(repository)) if path.is_relative_to(repository) else file
