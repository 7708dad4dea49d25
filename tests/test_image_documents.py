"""What a document tells of itself, and which names are near a wrong one."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmppool.image_documents import (
    MOST_DOCUMENTS,
    MOST_PICTURES,
    Collection,
    Document,
    below,
    is_complete,
    is_document,
    names_document,
    read,
)

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 20


def book(*cells: object, **more: object) -> bytes:
    return json.dumps({"nbformat": 4, "cells": list(cells), **more}).encode()


def markdown(source: object) -> dict[str, object]:
    return {"cell_type": "markdown", "source": source}


def plot(encoded: object) -> dict[str, object]:
    return {"cell_type": "code", "source": "", "outputs": [{"output_type": "stream"}, {"data": {"image/png": encoded}}]}


@pytest.mark.parametrize(
    ("content", "title"),
    [
        (book(markdown("# Linear models")), "Linear models"),
        (book(markdown(["# Linear\n", "text"])), "Linear"),
        (book(markdown("text"), markdown("## *Second* `level` #")), "Second level"),
        (book(markdown("# [A link](https://x.example) and ![a picture](y.png)")), "A link and a picture"),
        (book(markdown("# <b>bold</b> & more")), "bold & more"),
        (book({"cell_type": "code", "source": "# a comment"}), ""),
        (book(markdown("### third level")), ""),
        (book(markdown("#hashtag\n    # code\n#\n# \t\n  ## At last ##\r\n")), "At last"),
        (book(markdown("# About C# ##")), "About C#"),
        (book(markdown("# #\n# ##\n# At last")), "At last"),
        (book(*[markdown("text")] * 499, markdown("# In time")), "In time"),
        (book(markdown("\n# " * 499 + "\n# Too late")), ""),
        (book(markdown("# Title [![badge](b.svg)](https://x.example)")), "Title badge"),
        (json.dumps({"nbformat": 3, "worksheets": [{"cells": [markdown("# Old")]}]}).encode(), "Old"),
        (book(markdown(None), markdown(["# ok", 7])), "ok"),
        (book(markdown("# The read_csv of __pandas__, _quickly_")), "The read_csv of pandas, quickly"),
        (book(markdown("# `__init__`, 2 * 3 and **x\\*y**")), "__init__, 2 * 3 and x*y"),
        (book(markdown("# R&amp;D: a < b and b > a")), "R&D: a < b and b > a"),
        (book(markdown("# Sets {1, 2} {#sec-sets .unnumbered}")), "Sets {1, 2}"),
        (b"{", ""),
        (b"[]", ""),
        (b'{"cells": 7}', ""),
        (b'{"worksheets": [7, {"cells": [7]}]}', ""),
        (b"[" * 100_000, ""),
        (b"\xff\xfe", ""),
    ],
)
def test_a_notebook_has_the_title_of_its_first_heading(content: bytes, title: str) -> None:
    assert read("a.ipynb", content).title == title


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('---\ntitle: "From the front"\nauthor: x\n---\n# Heading\n', "From the front"),
        ("---\nauthor: x\ntitle: Plain\n---\n", "Plain"),
        ("---\r\ntitle: 'A: b'\r\n...\r\n# Heading\n", "A: b"),
        ("\ufeff---\ntitle: With a mark\n---\n", "With a mark"),
        ("---\n# a comment\nsubtitle: x\ntitle: >\n  on more lines\n---\n# Heading\n", "Heading"),
        ("---\n# Heading\ntitle: none\n", "Heading"),
        ("# intro" + " " * 6000 + "x\n", "intro"),
        ("\n" * 499 + "# In time", "In time"),
        ("\n" * 500 + "# Too late", ""),
        ("# Heading\n", "Heading"),
        ("text\n", ""),
    ],
)
def test_a_text_has_the_title_of_its_front_matter_or_heading(text: str, title: str) -> None:
    assert read("a.md", text.encode()).title == title


def test_the_picture_is_the_first_that_the_document_shows() -> None:
    encoded = base64.b64encode(PNG).decode()
    assert read("a.ipynb", book(plot("no base64!"), plot([encoded[:9] + "\n", encoded[9:]]))).picture == PNG
    assert read("a.ipynb", book(plot(base64.b64encode(b"GIF89a").decode()))).picture is None
    assert read("a.ipynb", book(plot("A" * 1_000_000))).picture is None
    assert read("a.ipynb", book(plot(7))).picture is None
    assert read("a.ipynb", book({"outputs": [{}] * 4999}, {"outputs": [{"png": encoded}]})).picture == PNG
    assert read("a.ipynb", book({"outputs": [{}] * 5000}, {"outputs": [{"png": encoded}]})).picture is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.ipynb", True),
        ("d/a.md", True),
        (".cache/a.ipynb", False),
        ("d/.x/a.ipynb", False),
        ("a.py", False),
        ("a\udcff.ipynb", False),
        ("a\n.md", False),
    ],
)
def test_hidden_files_are_no_documents(path: str, expected: bool) -> None:  # noqa: FBT001
    assert is_document(path) is expected


def test_a_name_that_cannot_be_shown_is_a_documents_too() -> None:
    assert names_document("a\n.md")
    assert not names_document("d/.x/a\n.md")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=9),
        lambda each: (
            st.lists(each, max_size=3)
            | st.dictionaries(
                st.sampled_from(["cells", "worksheets", "source", "outputs", "data", "cell_type", "image/png", "png"]),
                each,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_whatever_a_file_holds_is_read_without_an_error(content: object) -> None:
    found = read("a.ipynb", json.dumps(content).encode())
    assert found.path == "a.ipynb"


def test_the_documents_below_a_directory(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "z.ipynb").write_bytes(book(markdown("# Z")))
    (tmp_path / "a.md").write_text("# A")
    (tmp_path / "a.txt").write_text("# no")
    (tmp_path / "dir.ipynb").mkdir()
    assert below(tmp_path) == (Document("a.md", "A"), Document("b/z.ipynb", "Z"))


def test_the_pictures_of_one_image_are_bounded_together(tmp_path: Path) -> None:
    """They stay in memory; a document without one is shown with the service's card."""
    picture = base64.b64encode(PNG + b"x" * 250_000).decode()
    kept, least = MOST_PICTURES // (len(PNG) + 250_000), 10
    for number in range(kept + least):
        (tmp_path / f"{number:03}.ipynb").write_bytes(book(markdown(f"# {number}"), plot(picture)))
    found = below(tmp_path)
    assert [document.picture is not None for document in found] == [True] * kept + [False] * least
    assert [document.title for document in found] == [str(number) for number in range(kept + least)]


def test_a_document_takes_the_place_of_an_earlier_one_and_its_picture() -> None:
    """An archive may have a file of one name in two layers."""
    collection, picture = Collection(), base64.b64encode(PNG + b"x" * 250_000).decode()
    for _ in range(2 * MOST_PICTURES // 250_000):
        collection.add("a.ipynb", book(plot(picture)))
    collection.add("b.ipynb", book(plot(picture)))
    assert [document.picture is not None for document in collection.by_path()] == [True, True]


def test_no_more_documents_are_taken_than_are_kept() -> None:
    collection = Collection()
    for number in range(MOST_DOCUMENTS):
        assert collection.takes(f"{number}.md")
        collection.add(f"{number}.md", None)
    assert not collection.takes("another.md")
    assert collection.takes("7.md")
    assert len(collection.by_path()) == MOST_DOCUMENTS


def test_a_list_that_may_be_cut_off_is_not_complete() -> None:
    assert not is_complete(())
    assert is_complete([Document("a.ipynb")])
    assert not is_complete([Document("a.ipynb")] * MOST_DOCUMENTS)
