"""``tmppool check-links``: its options, and the order of its work: read, ask, judge, tell."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from itertools import islice

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from yarl import URL

from tmppool import __version__
from tmppool.check_links import asking, configurations, files, report
from tmppool.check_links.files import NotReadError, Tally
from tmppool.check_links.judge import Finding, Judge
from tmppool.check_links.report import Check
from tmppool.check_links.text import Finder, Link
from tmppool.errors import ConfigError
from tmppool.web import hosts

FINE, PROBLEMS = 0, 1
"""Exit status: nothing is wrong; something is. 2 is a mistake of the caller, 69 a service that does not answer."""

DESCRIPTION = (
    "Find the links to a tmppool service in a site's sources or built pages, and say which are wrong: documents that"
    " the image does not have, unknown pools, misspelt parameters, repositories that the service refuses, pages that"
    " may not embed. Nothing is started for it. Exit status 0: no problem; 1: problems; 2: a bad option; 69: the"
    " service does not answer."
)
MOST_LINKS = 100_000
MOST_OF_A_FILE = 10_000


def add_options(parser: argparse.ArgumentParser) -> None:
    on_github = os.environ.get("GITHUB_ACTIONS") == "true"
    parser.add_argument("pages", metavar="PAGE_OR_FOLDER", nargs="+", help="files, and folders with all below them")
    parser.add_argument(
        "--service",
        metavar="URL",
        action="append",
        help="the service, as https://nb.example; can be repeated [TMPPOOL_SERVICE, comma-separated]",
    )
    parser.add_argument(
        "--site",
        metavar="URL",
        action="append",
        help="where the pages are served, to judge what they embed; can be repeated [TMPPOOL_SITE, comma-separated]",
    )
    parser.add_argument(
        "--format",
        choices=("text", "json", "github"),
        default="github" if on_github else "text",
        help="of the output; github: annotations of a workflow [text; github in GitHub's workflows]",
    )
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format=json")


def run(found: argparse.Namespace) -> int:
    """Check and tell; returns the exit status. Raises ConfigError, ServiceAwayError."""
    services = _origins("service", found.service)
    sites = _origins("site", found.site)
    if not services:
        raise ConfigError("--service: name the service that the links lead to, as https://nb.example")
    tally = Tally()
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=Console(stderr=True),
        transient=True, disable=not sys.stderr.isatty(),
    )  # fmt: skip
    with progress:
        links, misled = _links(found.pages, services, tally, progress)
        asked = progress.add_task("Asking", total=None)
        facts = asyncio.run(
            asking.ask(services, links, sites, lambda done, total: progress.update(asked, completed=done, total=total))
        )
    judge = Judge(facts)
    findings = [*misled, *(finding for link in links for finding in judge.judge(link))]
    check = Check(services, findings, len(links), tally)
    _tell(check, found.format)
    return PROBLEMS if check.problems else FINE


def _origins(option: str, given: Sequence[str] | None) -> list[str]:
    """Return the origins of URLs, as browsers write them. Raises ConfigError."""
    named = given or os.environ.get(f"TMPPOOL_{option.upper()}", "").split(",")
    return list(dict.fromkeys(_origin(option, url.strip()) for url in named if url.strip()))


def _origin(option: str, text: str) -> str:
    try:
        url = URL(text)
        origin = str(url.origin())
    except ValueError:
        origin = ""
    is_path = option == "service" and origin and url.raw_path_qs not in ("", "/")
    if not hosts.is_origin(origin) or is_path:
        raise ConfigError(
            f"--{option}: {text!r} is not allowed: an origin is a scheme and a host, as https://nb.example"
        )
    return origin


def _links(
    pages: list[str], services: Sequence[str], tally: Tally, progress: Progress
) -> tuple[list[Link], list[Finding]]:
    """Read the pages; return the links to the services in them, and what is wrong otherwise. Raises ConfigError."""
    paths = files.listed(pages, tally)
    finder, links, misled = Finder(services), list[Link](), list[Finding]()
    for path in progress.track(paths, description="Reading"):
        try:
            content = files.read(path)
        except NotReadError as error:
            tally.skip(path, str(error))
            continue
        tally.read += 1
        if not (files.has_mark(content) or finder.may_be_in(content)):
            continue
        text = files.decoded(content)
        found = finder.links(path, text, is_markup=files.is_markup(path))
        kept = [*islice(found, min(MOST_OF_A_FILE, MOST_LINKS - len(links)))]
        links += kept
        misled += configurations.judge(path, text, kept)
        if next(found, None) is not None:
            tally.skip(path, f"has more links than {MOST_OF_A_FILE:,} in a file or {MOST_LINKS:,} in all")
    return links, misled


def _tell(check: Check, form: str) -> None:
    """Write the check to standard output, also where that has few characters."""
    if form == "json":
        lines = [report.as_json(__version__, check)]
    elif form == "github":
        lines = [*report.as_annotations(check, os.environ.get("GITHUB_WORKSPACE"))]
    else:
        lines = [*report.as_text(check)]
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.writelines(f"{line.encode(encoding, 'backslashreplace').decode(encoding)}\n" for line in lines)
