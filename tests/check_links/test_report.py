"""A check in three forms, none of which a page can forge."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmppool.check_links.files import Tally
from tmppool.check_links.judge import Finding, Subject
from tmppool.check_links.report import Check, as_annotations, as_json, as_text, shown
from tmppool.check_links.text import Link

NB = "https://nb.example"


def finding(file: str = "a.md", written: str = f"{NB}/lab", message: str = "it is wrong", **more: str) -> Finding:
    subject = Subject(more.get("subject", "document"))
    return Finding(Link(file, 3, 7, written, NB, "/lab"), subject, message)


def check(*findings: Finding, tally: Tally | None = None) -> Check:
    return Check([NB], findings, 12, tally or Tally(1000))


def test_a_problem_is_a_line_as_compilers_write_them() -> None:
    assert list(as_text(check(finding(), finding("b.md")))) == [
        f"a.md:3:7: {NB}/lab: it is wrong",
        f"b.md:3:7: {NB}/lab: it is wrong",
        f"2 problems in 2 files: 12 links to {NB} in 1,000 files.",
    ]


def test_a_site_without_links_is_told() -> None:
    (line,) = as_text(Check([NB], [], 0, Tally(3)))
    assert line == f"Nothing to check, unless the links have another host name: 0 links to {NB} in 3 files."


def test_what_was_not_judged_and_not_read_is_summed_up() -> None:
    tally = Tally(1)
    for name in "xyz":
        tally.skip(f"{name}.md", "is no text")
    unjudged = [finding(message=message, subject="unjudged") for message in ("one", "two", "one")]
    assert list(as_text(check(*unjudged, tally=tally))) == [
        f"No problems: 12 links to {NB} in 1 file.",
        "Not judged: 2 links, the first in a.md:3: one.",
        "Not judged: 1 link, the first in a.md:3: two.",
        "Left out: 3 files, the first x.md, which is no text.",
    ]


def test_everything_is_in_the_json() -> None:
    tally = Tally(1)
    tally.skip("x.md", "is no text")
    told = json.loads(as_json("1.0", check(finding(), finding(subject="unjudged"), tally=tally)))
    each = {"file": "a.md", "line": 3, "column": 7, "link": f"{NB}/lab", "message": "it is wrong", "near": []}
    assert told == {
        "version": "1.0",
        "services": [NB],
        "files": 1,
        "links": 12,
        "problems": [{**each, "subject": "document"}],
        "unjudged": [{**each, "subject": "unjudged"}],
        "skipped": [{"reason": "is no text", "files": ["x.md"]}],
    }


@pytest.mark.parametrize(
    ("file", "workspace", "expected"),
    [
        ("/w/docs/a.md", "/w", "docs/a.md"),
        ("/w/docs/a.md", "/work", "/w/docs/a.md"),
        ("/w/docs/a.md", None, "/w/docs/a.md"),
        ("docs/a.md", "", "docs/a.md"),
        ("/w/a,b:c%.md", "/w", "a%2Cb%3Ac%25.md"),
    ],
)
def test_an_annotation_names_the_file_in_the_repository(file: str, workspace: str | None, expected: str) -> None:
    first, *rest = as_annotations(check(finding(file)), workspace)
    assert first == f"::error file={expected},line=3,col=7,title=check-links::{NB}/lab: it is wrong"
    assert rest == [f"::notice::1 problem in 1 file: 12 links to {NB} in 1,000 files."]


def test_a_long_link_is_shortened() -> None:
    (line, _) = as_text(check(finding(written="x" * 9000)))
    assert len(line) < 400


def test_a_name_begins_no_command() -> None:
    (line, _) = as_text(check(finding("::error::forged.md")))
    assert line.startswith("./::error")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("größe …", "größe …"), ("a\nb\x1b[0m", "a\\nb\\x1b[0m"), ("\u202e\u2028\x85", "\\u202e\\u2028\\x85"), ("\udcff", "\\udcff"),
     ("##[error]", "#\\x23[error]"), ("###", "#\\x23#")],
)  # fmt: skip
def test_what_cannot_be_seen_is_escaped(text: str, expected: str) -> None:
    assert shown(text) == expected


@given(st.text(), st.text(), st.text(), st.sampled_from(["document", "unjudged"]))
def test_whatever_is_told_stays_in_its_line(file: str, written: str, message: str, subject: str) -> None:
    found = check(finding(file, written, message, subject=subject))
    for lines in (list(as_text(found)), list(as_annotations(found, None))):
        assert len(lines) == 2
        assert all(line.isprintable() and "##[" not in line for line in lines)
    assert not any(line.startswith("::") for line in as_text(found))
    assert all(line.startswith(("::error file=", "::notice::")) for line in as_annotations(found, None))
    json.loads(as_json("1", found))
