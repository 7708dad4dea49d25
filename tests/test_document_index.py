"""Which documents a name or a text means, and what it costs to find them."""

import statistics
import time
from collections.abc import Callable

import pytest

from tmppool.document_index import DocumentIndex
from tmppool.image_documents import MOST_DOCUMENTS, Document

FEW = DocumentIndex(
    [Document(each) for each in ("intro.ipynb", "new/plots.ipynb", "plot.ipynb", "q/regression.ipynb", "q.md")]
)
NOISE = 20e-6  # seconds that any call may take


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Intro.ipynb", ["intro.ipynb"]),
        ("old/plots.ipynb", ["new/plots.ipynb", "plot.ipynb"]),
        ("plts.ipynb", ["new/plots.ipynb", "plot.ipynb"]),
        ("polts.ipynb", ["new/plots.ipynb"]),
        ("zzz.ipynb", []),
        ("a.ipynb", []),
        ("regression", ["q/regression.ipynb"]),
        ("2-linear-regression.ipynb", ["q/regression.ipynb"]),
        ("x" * 9000 + ".ipynb", []),
        ("", []),
    ],
)
def test_near_names(path: str, expected: list[str]) -> None:
    assert FEW.near(path) == expected


def test_near_names_in_the_folder_that_was_named_come_first() -> None:
    known = DocumentIndex([Document(f"{folder}/intro.ipynb") for folder in ("a", "b", "c")])
    assert known.near("b/intr.ipynb") == ["b/intro.ipynb", "a/intro.ipynb", "c/intro.ipynb"]


def test_the_nearest_folder_has_documents() -> None:
    known = DocumentIndex([Document("a/b/c.ipynb"), Document("x.md")])
    asked = ("a/b/no.ipynb", "a/b/d/e/no.ipynb", "a/no.ipynb", "z/no.ipynb", "no.ipynb", "a" + "/b" * 3000)
    assert [known.nearest_folder(path) for path in asked] == ["a/b", "a/b", "a", "", "", "a/b"]


def test_near_names_are_found_among_many() -> None:
    known = DocumentIndex([Document(f"week/chapter {number} about some topic.ipynb") for number in range(2000)])
    assert "week/chapter 1333 about some topic.ipynb" in known.near("chapter 1333 about some topics.ipynb")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("RIVERS one", ["a/1.ipynb"]), ("rivers", ["a/1.ipynb", "a/2.md"]), ("lake", []), (" ", ["a/1.ipynb", "a/2.md"])],
)
def test_all_words_of_a_text_are_in_path_or_title(text: str, expected: list[str]) -> None:
    known = DocumentIndex([Document("a/1.ipynb", "Rivers, part one"), Document("a/2.md", "Rivers, part two")])
    assert [each.path for each in known.having(text)] == expected


@pytest.mark.parametrize(
    ("path", "expected"), [("new", True), ("new/plots.ipynb", True), ("ne", False), ("q", True), ("q/x", False)]
)
def test_a_directory_of_documents_is_there(path: str, expected: bool) -> None:  # noqa: FBT001
    assert FEW.has(path) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("intro.ipynb", False),
        ("no.ipynb", True),
        ("no.md", True),
        ("a\n.ipynb", True),
        (".hidden/no.ipynb", False),
        ("no.csv", False),
    ],
)
def test_only_what_is_listed_can_be_lacking(path: str, expected: bool) -> None:  # noqa: FBT001
    assert FEW.lacks(path) is expected
    assert not DocumentIndex([]).lacks(path)
    assert not DocumentIndex([Document(f"{number}.md") for number in range(MOST_DOCUMENTS)]).lacks(path)


@pytest.mark.parametrize(
    ("paths", "first"),
    [
        (["a.ipynb", "b/README.md", "README.md", "z/a.ipynb"], "README.md"),
        (["a.ipynb", "Index.ipynb", "README.md"], "Index.ipynb"),
        (["a/README.md", "b.ipynb"], "a/README.md"),
        (["a/a.ipynb", "Getting_started.md", "b.ipynb"], "Getting_started.md"),
        (["a/a.ipynb", "c.ipynb", "b.ipynb"], "b.ipynb"),
        ([], ""),
    ],
)
def test_what_is_named_as_a_beginning_is_one(paths: list[str], first: str) -> None:
    assert DocumentIndex([Document(path) for path in sorted(paths)]).beginning == first


def test_the_title_of_what_is_not_there_is_empty() -> None:
    known = DocumentIndex([Document("a.md", "A")])
    assert (known.title("a.md"), known.title("b.md")) == ("A", "")


# What a question costs

MANY = DocumentIndex([Document(f"{number} a {'in' * 60} {number}.ipynb", "in " * 60) for number in range(1900)])
BOUNDED: dict[str, tuple[Callable[[str], object], str]] = {
    "words of a text": (MANY.having, "i+n+ in ".replace("+", " ")),
    "other words": (MANY.having, "i in nin ini "),
    "a name": (MANY.near, "ininin a"),
    "a name of other letters": (MANY.near, "abcdefghijklmnopqrstuvwxyz 0123456789 "),
}


def seconds(ask: Callable[[str], object], text: str) -> float:
    def once() -> float:
        began = time.thread_time()
        ask(text)
        return time.thread_time() - began

    return statistics.median(once() for _ in range(7))


@pytest.mark.parametrize(("ask", "unit"), BOUNDED.values(), ids=BOUNDED.keys())
def test_a_longer_question_takes_no_longer(ask: Callable[[str], object], unit: str) -> None:
    """Each client may ask at any time, on the loop that serves all. Without bounds a question took 50 times as long."""
    short, long = (seconds(ask, (unit * size)[:size]) for size in (240, 7900))
    assert long < 3 * short + NOISE


def test_near_names_take_no_longer_for_each_document() -> None:
    """All of these share all of their letters, as the names of a course's chapters do."""
    name = "the chapter of this course about a topic number"
    some, many = (
        DocumentIndex([Document(f"{name} {number:04}.ipynb") for number in range(count)]) for count in (450, 1800)
    )
    wanted = f"{name}s 7777.ipynb"
    assert seconds(many.near, wanted) < 2 * 4 * seconds(some.near, wanted) + NOISE
