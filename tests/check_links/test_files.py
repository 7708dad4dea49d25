"""Which files of a site are read, and as what."""

import codecs
import os
import subprocess
from pathlib import Path

import pytest

from tmppool.check_links import files
from tmppool.check_links.files import NotReadError, Tally
from tmppool.errors import ConfigError


def listed(*named: Path) -> tuple[list[str], Tally]:
    tally = Tally()
    return files.listed([str(each) for each in named], tally), tally


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


PAGES = [
    "a.html",
    "b.HTM",
    "c.xhtml",
    "d.md",
    "e.rst",
    "f.ipynb",
    "g.yml",
    "h.toml",
    "i.qmd",
    "j.Rmd",
    "k.html.j2",
    "l.jinja",
    "m.py",
    "n.js",
    "o.tsx",
    "p.mdx",
    "q.xml",
    "r.txt",
]


def test_pages_sources_templates_and_configurations_are_read(tmp_path: Path) -> None:
    make(tmp_path, *PAGES, "a.png", "a.css", "searchindex.json", "LICENSE", ".html", "a.js.map", "a.tar.gz")
    found, tally = listed(tmp_path)
    assert found == [str(tmp_path / name) for name in PAGES]
    assert tally.skipped == {}


def test_folders_of_tools_are_not_entered(tmp_path: Path) -> None:
    make(
        tmp_path,
        ".git/a.md",
        "node_modules/x/a.js",
        "b/.venv/lib/a.py",
        ".github/a.md",
        ".vitepress/config.ts",
        "b/c.md",
    )
    found, _ = listed(tmp_path)
    assert found == [str(tmp_path / name) for name in (".github/a.md", ".vitepress/config.ts", "b/c.md")]


def test_folders_may_be_deep(tmp_path: Path) -> None:
    """Deeper than Python's own calls, and than a path may be long."""
    make(tmp_path, "z.md")
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(2200):
        os.mkdir("a", dir_fd=here)
        below = os.open("a", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    found, tally = listed(tmp_path)
    assert found == [str(tmp_path / "z.md")]
    assert [len(paths) for paths in tally.skipped.values()] == [1]
    subprocess.run(["rm", "-rf", tmp_path / "a"], check=True)  # pytest's own removal is not as patient


def test_a_file_that_is_named_is_read_whatever_its_name_is_and_once(tmp_path: Path) -> None:
    make(tmp_path, "a.md", "README")
    found, _ = listed(tmp_path / "README", tmp_path, tmp_path / "a.md")
    assert found == [str(tmp_path / "README"), str(tmp_path / "a.md")]


def test_symbolic_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "secret/key.md", "site/a.md", "site-2/b.md")
    site = tmp_path / "site"
    (site / "inside.md").symlink_to("a.md")
    (site / "outside.md").symlink_to("../secret/key.md")
    (site / "beside.md").symlink_to("../site-2/b.md")
    (site / "folder").symlink_to("../secret")
    (site / "loop.md").symlink_to("loop.md")
    (site / "round").symlink_to(".")
    (site / "nowhere.md").symlink_to("nothing.md")
    found, tally = listed(site)
    assert found == [str(site / name) for name in ("a.md", "inside.md", "loop.md", "nowhere.md")]
    assert tally.skipped == {
        "is a symbolic link out of the folder": [str(site / "beside.md"), str(site / "outside.md")]
    }
    for name in ("loop.md", "nowhere.md"):
        with pytest.raises(NotReadError, match="cannot be read"):
            files.read(str(site / name))
    assert files.read(str(site / "inside.md")) == b"x"


@pytest.mark.parametrize("name", ["nowhere", "a\0b", "x" * 300, "https://docs.example/"])
def test_what_is_named_must_be_there(name: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read|is a URL"):
        files.listed([name], Tally())


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.md")
    with pytest.raises(NotReadError, match="is no file"):
        files.read(str(tmp_path / "a.md"))
    with pytest.raises(NotReadError, match="is no file"):
        files.read("/dev/zero")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.md").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(NotReadError, match="is larger than 16 MiB"):
        files.read(str(tmp_path / "a.md"))
    (tmp_path / "b.md").write_bytes(b"x" * files.MOST_BYTES)
    assert len(files.read(str(tmp_path / "b.md"))) == files.MOST_BYTES


def test_what_is_no_text_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"x\0y")
    with pytest.raises(NotReadError, match="is no text"):
        files.read(str(tmp_path / "a.md"))


@pytest.mark.parametrize(
    "content",
    [
        "größe".encode(),
        codecs.BOM_UTF8 + "größe".encode(),
        "größe".encode("utf-16"),
        codecs.BOM_UTF16_BE + "größe".encode("utf-16-be"),
        "größe".encode("utf-32"),
        "größe".encode("cp1252"),
    ],
)
def test_a_text_is_read_in_its_encoding(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(content)
    assert files.decoded(files.read(str(tmp_path / "a.md"))) == "größe"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\xff\xfe\x00\x00\x01", b"a\x81\x8d\xff", b"\xed\xa0\x80"])
def test_a_broken_encoding_is_no_error(content: bytes) -> None:
    assert isinstance(files.decoded(content), str)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.html", True), ("a.HTML", True), ("a.md", True), ("a.ipynb", True), ("a.html.j2", True), ("a.rst", False),
     ("a.yml", False), ("a.toml", False), ("a.py", False), ("README", False)],
)  # fmt: skip
def test_an_escaped_ampersand_is_one_in_html(name: str, expected: bool) -> None:  # noqa: FBT001
    assert files.is_markup(name) is expected
