"""What a notebook unpacks of an image's home: archives as an engine makes them, in and out, and unpacked by tar."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tmppool.backends.home_archive import Account, LeftOut, Repacker, Survey, account_of, wrapped
from tmppool.backends.home_paths import Copies, Tree

TREE = Tree("/home/jovyan", "/home/jovyan")
SRV = Tree("/srv", "/srv")
COPIES = Copies([(TREE, "/home/notebook"), (SRV, "/home/notebook")])
JOVYAN = Account(1000, 100, "/home/jovyan")
ROOT = Account(0, 0, "/root")
DEVICE, FIFO, LINK, HARD = tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def entry(
    name: str,
    mode: int = 0o644,
    text: bytes = b"",
    *,
    owner: tuple[int, int] = (1000, 100),
    link: str = "",
    kind: bytes = b"",
) -> tuple[tarfile.TarInfo, bytes]:
    made = tarfile.TarInfo(f"./{name}")
    made.mode, made.size, (made.uid, made.gid), made.linkname = mode, len(text), owner, link
    made.type = kind or (tarfile.DIRTYPE if name.endswith("/") or name == "." else tarfile.REGTYPE)
    return made, text


def archive(*entries: tuple[tarfile.TarInfo, bytes], root: tuple[tarfile.TarInfo, bytes] | None = None) -> io.BytesIO:
    """Return what the engine answers for a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        for member, text in (root or entry(".", 0o755), *entries):
            tar.addfile(member, io.BytesIO(text))
    out.seek(0)
    return out


def repacked(
    *entries: tuple[tarfile.TarInfo, bytes],
    user: Account | None = JOVYAN,
    root: tuple[tarfile.TarInfo, bytes] | None = None,
    most: int = 1 << 20,
) -> tuple[dict[str, tarfile.TarInfo], Survey]:
    """Return the members of the new archive, the last of each name, and the survey."""
    out = io.BytesIO()
    repacker = Repacker(out, COPIES, most, user)
    repacker.add(archive(*entries, root=root), TREE)
    survey = repacker.close()
    out.seek(0)
    with tarfile.open(fileobj=out, errors="surrogateescape") as tar:
        return {member.name: member for member in tar.getmembers()}, survey


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o644, 0o755, 0o2755, 0o1777])
def test_a_file_of_the_owner_is_copied_whatever_its_mode_and_keeps_it(mode: int) -> None:
    found, survey = repacked(entry("a", mode, b"text"))
    assert found["a"].mode == mode
    assert (found["a"].uid, found["a"].gid, found["a"].uname) == (0, 0, "")
    assert survey == Survey(4096, 2)


def test_the_home_itself_is_no_member_so_that_its_mode_stays_the_notebooks() -> None:
    found, survey = repacked(root=entry(".", 0o777))
    assert (found, survey) == ({}, Survey(0, 1))


@pytest.mark.parametrize(
    ("owner", "mode", "user", "is_copied"),
    [
        ((0, 0), 0o600, JOVYAN, False),
        ((0, 0), 0o604, JOVYAN, True),
        ((0, 100), 0o640, JOVYAN, True),
        ((0, 7), 0o640, JOVYAN, False),
        ((0, 7), 0o640, Account(1000, 100, groups=(8, 7)), True),
        ((1000, 100), 0o044, JOVYAN, False),  # the kernel asks for the owner's bits alone
        ((0, 0), 0o600, ROOT, True),
        ((0, 0), 0o000, ROOT, True),
        ((1000, 100), 0o600, Account(7, 7), True),  # readable by the home's owner
        ((1000, 100), 0o600, None, True),
        ((0, 0), 0o600, None, False),
    ],
)
def test_what_the_images_user_or_the_homes_owner_can_read_is_copied(
    owner: tuple[int, int],
    mode: int,
    user: Account | None,
    is_copied: bool,  # noqa: FBT001
) -> None:
    found, survey = repacked(entry("a", mode, owner=owner), user=user)
    assert ("a" in found) is is_copied
    assert [str(each) for each in survey.left_out] == (
        [] if is_copied else [f"'/home/jovyan/a' (mode {mode:04o}, the image's user cannot read it)"]
    )
    if is_copied:
        assert found["a"].mode & 0o400  # whoever unpacks it is its owner


def test_what_root_owns_is_not_shown_because_the_home_is_roots() -> None:
    found, survey = repacked(entry("a", 0o600, owner=(0, 0)), root=entry(".", 0o755, owner=(0, 0)))
    assert found == {}
    assert survey.left_out == (LeftOut("/home/jovyan/a", 0o600, "the image's user cannot read it"),)


def test_of_a_directory_that_cannot_be_entered_only_itself_is_named() -> None:
    entries = entry("d/", 0o700, owner=(0, 0)), entry("d/e/", 0o755), entry("d/e/a"), entry("dd")
    found, survey = repacked(*entries)
    assert list(found) == ["dd"]
    assert [each.path for each in survey.left_out] == ["/home/jovyan/d"]


def test_a_home_that_its_user_cannot_enter_is_named() -> None:
    found, survey = repacked(entry("a"), root=entry(".", 0o700, owner=(0, 0)))
    assert found == {}
    assert [each.path for each in survey.left_out] == ["/home/jovyan"]


def test_devices_are_named_pipes_are_copied() -> None:
    found, survey = repacked(entry("null", 0o666, kind=DEVICE), entry("pipe", 0o600, kind=FIFO))
    assert found["pipe"].isfifo()
    assert survey.left_out == (LeftOut("/home/jovyan/null", 0o666, "a device"),)


@pytest.mark.parametrize(
    ("target", "moved"),
    [
        ("a", "a"),
        ("../other", "../other"),
        ("/etc/passwd", "/etc/passwd"),
        ("/home/jovyan", "/home/notebook"),
        ("/home/jovyan/a", "/home/notebook/a"),
        ("/home/jovyan2/a", "/home/jovyan2/a"),
    ],
)
def test_a_link_leads_where_it_leads_in_the_image(target: str, moved: str) -> None:
    found, _ = repacked(entry("l", 0o777, link=target, kind=LINK))
    assert (found["l"].issym(), found["l"].linkname) == (True, moved)


def test_hard_links_stay_links_and_take_no_space() -> None:
    found, survey = repacked(entry("a", 0o600, b"x"), entry("b", 0o600, link="./a", kind=HARD))
    assert (found["b"].islnk(), found["b"].linkname) == (True, "a")
    assert survey == Survey(4096, 3)


def test_a_hard_link_to_what_is_left_out_is_named() -> None:
    entries = entry("d/", 0o000), entry("d/a"), entry("b", link="./d/a", kind=HARD)
    _, survey = repacked(*entries)
    assert [each.path for each in survey.left_out] == ["/home/jovyan/d", "/home/jovyan/b"]


def test_a_read_only_directory_gets_its_mode_when_its_files_are_there() -> None:
    found, _ = repacked(entry("d/", 0o555), entry("d/a"))
    assert list(found) == ["d", "d/a"]
    assert found["d"].mode == 0o555  # the later one


def test_nothing_is_copied_to_where_something_else_is_mounted() -> None:
    out = io.BytesIO()
    repacker = Repacker(out, COPIES, 1 << 20, JOVYAN, hidden=["d"])
    repacker.add(archive(entry("d/"), entry("d/a", text=b"x"), entry("da"), entry("e", link="d/a", kind=HARD)), TREE)
    repacker.add(archive(entry("d/"), entry("d/b")), SRV)
    survey = repacker.close()
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert tar.getnames() == ["da"]
    assert (survey.size, survey.inodes, [each.path for each in survey.left_out]) == (0, 2, ["/home/jovyan/e"])


@pytest.mark.parametrize(("one", "other"), [("a", "d/b"), ("d/a", "b"), ("d/a", "e/b")])
def test_a_hard_link_from_one_mount_to_another_is_named(one: str, other: str) -> None:
    repacker = Repacker(io.BytesIO(), COPIES, 1 << 20, JOVYAN, mounted=["d", "e"])
    entries = entry("d/", 0o755), entry("e/", 0o755), entry(one), entry(other, link=one, kind=HARD)
    repacker.add(archive(*entries, entry("d/1"), entry("d/2", link="d/1", kind=HARD)), TREE)
    why = f"a hard link to '{one}', from one VOLUME to another"
    assert repacker.close().left_out == (LeftOut(f"/home/jovyan/{other}", 0o644, why),)


def test_sizes_are_those_of_a_tmpfs_and_counted_beyond_what_is_written() -> None:
    entries = [entry(f"a{number}", text=b"x" * 4097) for number in range(5)]
    found, survey = repacked(*entries, most=2 * 8192)
    assert survey == Survey(5 * 8192, 6)
    assert list(found) == ["a0", "a1"]


def test_a_second_directory_lies_over_the_first_unless_a_file_would_hide_a_directory() -> None:
    out = io.BytesIO()
    repacker = Repacker(out, COPIES, 1 << 20, JOVYAN)
    repacker.add(archive(entry("a", text=b"one"), entry("d/", 0o755), entry("f")), TREE)
    repacker.add(archive(entry("a", text=b"second"), entry("d"), entry("f/", 0o755), entry("f/x")), SRV)
    survey = repacker.close()
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert [(member.name, member.size) for member in tar] == [("a", 3), ("d", 0), ("f", 0), ("a", 6)]
    assert [each.path for each in survey.left_out] == ["/srv/d", "/srv/f"]


NAMES = ("plain", "with space", "new\nline", "back\\slash", "-rf", "'\"$(id)`", "größe", "\udcff\udcfe", "x" * 255)


def test_any_name_and_any_mode_survive_tar(tmp_path: Path) -> None:
    """Real tar, as in the notebook, with the options of the container's start."""
    out = io.BytesIO()
    repacker = Repacker(out, COPIES, 1 << 20, JOVYAN)
    deep = [entry("/".join(["d" * 200] * depth) + "/", 0o700) for depth in (1, 2, 3)]
    files = [entry(name, 0o600, name.encode(errors="surrogateescape")) for name in NAMES]
    repacker.add(archive(*files, entry("ro/", 0o555), entry("ro/a", 0o400), *deep), TREE)
    survey = repacker.close()
    assert survey.left_out == ()
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "home.tar").write_bytes(out.getvalue())
    subprocess.run(["tar", "-xopmf", tmp_path / "home.tar", "-C", home], check=True, umask=0o077)
    assert {os.fsencode(path.name) for path in home.iterdir()} == {
        *(name.encode(errors="surrogateescape") for name in NAMES), b"ro", b"d" * 200,
    }  # fmt: skip
    for name in NAMES:
        assert (home / name).read_bytes() == name.encode(errors="surrogateescape")
        assert (home / name).stat().st_mode & 0o7777 == 0o600
    assert (home / "ro").stat().st_mode & 0o7777 == 0o555
    assert (home / "ro" / "a").stat().st_mode & 0o7777 == 0o400
    (home / "ro").chmod(0o755)


def test_an_archive_that_breaks_off_is_an_error() -> None:
    whole = archive(entry("a", text=b"x" * 5000)).getvalue()
    with pytest.raises(tarfile.TarError):
        Repacker(io.BytesIO(), COPIES, 1 << 20).add(io.BytesIO(whole[:3000]), TREE)


def test_what_is_put_into_the_volume_is_one_file_that_all_can_read() -> None:
    out = io.BytesIO()
    wrapped("home.tar", io.BytesIO(b"an archive"), out)
    with tarfile.open(fileobj=out) as tar:
        (member,) = tar.getmembers()
        assert (member.name, member.mode, member.uid, member.isreg()) == ("home.tar", 0o444, 0, True)
        assert tar.extractfile(member).read() == b"an archive"


PASSWD = """root:x:0:0:root:/root:/bin/sh
jovyan:x:1000:100:Visitor:/home/jovyan:/bin/bash
1001:x:7:8:a name of digits:/seven:/bin/sh
nonsense
x:x:y:z::/x:
short:x:9:9
"""


GROUP = """root:x:0:
users:x:100:
course:x:2000:ada,jovyan
seven:x:7:jovyan
nonsense
x:x:y:jovyan
"""


@pytest.mark.parametrize(
    ("user", "account"),
    [
        ("", Account(0, 0, "/root")),
        ("root", Account(0, 0, "/root")),
        ("0", Account(0, 0, "/root")),
        ("jovyan", Account(1000, 100, "/home/jovyan", (2000, 7))),
        ("1000", Account(1000, 100, "/home/jovyan", (2000, 7))),
        ("1000:7", Account(1000, 7, "/home/jovyan")),
        ("jovyan:course", Account(1000, 2000, "/home/jovyan")),
        (":course", Account(0, 2000, "/root")),
        ("jovyan:nobody-has-this", Account(1000, 100, "/home/jovyan")),
        ("4711:course", Account(4711, 2000)),
        ("jovyan:users", Account(1000, 100, "/home/jovyan")),
        ("1001", Account(7, 8, "/seven")),
        ("4711:5", Account(4711, 5)),
        ("4711", Account(4711, 0)),
        ("nobody-has-this", None),
        ("x", None),
    ],
)
def test_who_the_images_user_is(user: str, account: Account | None) -> None:
    assert account_of(user, PASSWD, GROUP) == account
