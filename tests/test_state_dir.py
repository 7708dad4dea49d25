"""A state directory is one service's, and nobody else's to change."""

import asyncio
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tmppool import state_dir
from tmppool.errors import ConfigError

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def given_away(state: Path) -> None:
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)


def below_somebody(state: Path) -> None:
    given_away(state.parent)


def below_all(state: Path) -> None:
    state.mkdir(parents=True)
    state.parent.chmod(0o777)


def below_a_group(state: Path) -> None:
    state.mkdir(parents=True)
    state.parent.chmod(0o775)


def for_everybody(state: Path) -> None:
    state.mkdir()
    state.chmod(0o1777)


def with_a_link(state: Path) -> None:
    state.mkdir()
    (state / "ledger.sqlite-wal").symlink_to("/etc/passwd")


def with_a_broken_link(state: Path) -> None:
    state.mkdir()
    (state / "admin-token").symlink_to("/nowhere")


def with_a_file_of_somebody(state: Path) -> None:
    state.mkdir()
    (state / "ledger.sqlite").touch()
    os.chown(state / "ledger.sqlite", NOBODY, NOBODY)


def behind_a_link_of_somebody(state: Path) -> None:
    (state.parent / "real").mkdir(parents=True)
    state.symlink_to(state.parent / "real")
    os.lchown(state, NOBODY, NOBODY)


def behind_a_link_to_a_place_of_all(state: Path) -> None:
    below_all(state.parent / "all" / "real")
    state.symlink_to(state.parent / "all" / "real")


DANGERS: dict[Callable[[Path], None], str] = {
    given_away: "it belongs to UID 65534",
    below_somebody: "belongs to UID 65534",
    below_all: "has mode 0777; run chmod go-w",
    below_a_group: "has mode 0775",
    for_everybody: "everybody's files",
    with_a_link: "ledger.sqlite-wal in it is a symbolic link",
    with_a_broken_link: "admin-token in it is a symbolic link",
    with_a_file_of_somebody: "ledger.sqlite in it belongs to another user",
    behind_a_link_of_somebody: "belongs to UID 65534",
    behind_a_link_to_a_place_of_all: "has mode 0777",
}


@needs_root
@pytest.mark.parametrize("make", DANGERS, ids=lambda make: make.__name__)
def test_what_others_could_change_is_refused_in_one_sentence(tmp_path: Path, make: Callable[[Path], None]) -> None:
    state = tmp_path / "parent" / "state"
    if make not in (below_somebody, below_all, below_a_group, behind_a_link_of_somebody):
        state.parent.mkdir()
    make(state)
    with pytest.raises(ConfigError, match=r"^--state-dir: '.*' is not allowed, since other users could") as error:
        state_dir.prepare(state)
    assert DANGERS[make] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_directory_that_others_may_write_to_is_tightened_and_that_is_said(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    with capture_logs() as logs:
        state_dir.prepare(state)
        state_dir.prepare(state)
    assert stat.S_IMODE(state.stat().st_mode) == 0o755
    assert [(line["event"], line["mode"]) for line in logs] == [("state.tightened", "0777")]


@pytest.mark.parametrize(("whole", "mode"), [(0o755, 0o644), (0o711, 0o640), (0o700, 0o666), (0o750, 0o604)])
def test_a_file_that_others_may_read_is_made_private_and_that_is_said(tmp_path: Path, whole: int, mode: int) -> None:
    """As of a backup that was copied back."""
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(whole)
    for name in ("ledger.sqlite", "ledger.sqlite-wal", "lock"):
        (state / name).touch()
        (state / name).chmod(mode)
    with capture_logs() as logs:
        state_dir.prepare(state)
        state_dir.prepare(state)
    assert {stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()} == {0o600}
    assert [(line["event"], line["mode"]) for line in logs] == [("state.tightened", f"{mode:04o}")] * 3


@pytest.mark.parametrize("name", ["ledger.sqlite", "ledger.sqlite-wal", "lock"])
def test_a_file_that_others_may_have_changed_is_refused(tmp_path: Path, name: str) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    (state / name).touch()
    (state / name).chmod(0o666)
    with pytest.raises(ConfigError, match=f"{name} in it has mode 0666; remove it, or run chmod 0600"):
        state_dir.prepare(state)


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_a_new_one_is_its_users_alone_and_still_right_at_the_next_start(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        state_dir.prepare(tmp_path / "a" / "b" / "state")
        state_dir.prepare(tmp_path / "a" / "b" / "state")
    finally:
        os.umask(before)
    state = tmp_path / "a" / "b" / "state"
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert not state.parent.stat().st_mode & 0o022


def test_a_relative_one_is_made_where_the_service_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state_dir.prepare(Path("a/state"))
    assert stat.S_IMODE((tmp_path / "a" / "state").stat().st_mode) == 0o700


def test_an_ordinary_one_is_used_also_below_tmp_or_behind_ones_own_link(tmp_path: Path) -> None:
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    state = tmp_path / "sticky" / "state"
    state.mkdir(mode=0o755)
    (state / "ledger.sqlite").touch(mode=0o600)
    (state / "notebooks").mkdir()
    (tmp_path / "link").symlink_to(state)
    with capture_logs() as logs:
        state_dir.prepare(state)
        state_dir.prepare(tmp_path / "link")
    assert logs == []


async def test_one_that_cannot_be_used_is_the_ledgers_to_say(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with state_dir.held(tmp_path / "file" / "below", "name"):
        pass


# A directory that is lost while the service runs


def moved(state: Path) -> None:
    state.rename(state.with_name("elsewhere"))


def replaced(state: Path) -> None:
    moved(state)
    state.mkdir(mode=0o700)


@pytest.mark.parametrize("lose", [moved, shutil.rmtree, replaced])
async def test_one_that_is_lost_has_its_lock_and_its_token_again(
    tmp_path: Path, lose: Callable[[Path], object]
) -> None:
    state = tmp_path / "state"
    async with state_dir.held(state, "name") as holding:
        holding.token, path = await asyncio.to_thread(state_dir.admin_token, state)
        with capture_logs() as logs:
            await holding.keep()
            assert logs == []
            await asyncio.to_thread(lose, state)
            for _ in range(2):
                await holding.keep()
        assert [line["event"] for line in logs] == ["state.restored"]
        assert holding.token not in str(logs)
        assert await asyncio.to_thread(state_dir.admin_token, state) == (holding.token, path)
        with pytest.raises(ConfigError, match="already runs"):
            async with state_dir.held(state, "name"):
                pass
    async with state_dir.held(state, "name"):
        pass


async def test_one_that_is_moved_away_and_back_is_this_services_as_before(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with state_dir.held(state, "name") as holding:
        with capture_logs() as logs:
            await asyncio.to_thread(moved, state)
            await holding.keep()
            await asyncio.to_thread(shutil.rmtree, state)
            await asyncio.to_thread(state.with_name("elsewhere").rename, state)
            await holding.keep()
        assert [line["event"] for line in logs] == ["state.restored"]
        assert await asyncio.to_thread(holding.is_ours)
        with pytest.raises(ConfigError, match="already runs"):
            async with state_dir.held(state, "name"):
                pass
    async with state_dir.held(state, "name"):
        pass


async def test_its_lock_is_given_back_by_the_last_of_its_users(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with state_dir.held(state, "name") as holding:
        holding.use()
    assert await asyncio.to_thread(holding.is_ours)
    with pytest.raises(ConfigError, match="already runs"):
        async with state_dir.held(state, "name"):
            pass
    await asyncio.to_thread(holding.close)
    assert not await asyncio.to_thread(holding.is_ours)
    async with state_dir.held(state, "name"):
        pass


async def test_one_in_whose_place_another_service_runs_is_left_to_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with state_dir.held(state, "name") as holding:
        holding.token = "t" * 32
        await asyncio.to_thread(moved, state)
        async with state_dir.held(state, "name"):
            with capture_logs() as logs:
                for _ in range(2):
                    await holding.keep()
        said = [(line["event"], line["error"]) for line in logs]
        assert said == [("state.lost", "another service holds its lock")]
        assert [part.name for part in state.iterdir()] == ["lock"]


async def test_one_that_takes_no_token_is_tried_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with state_dir.held(state, "name") as holding:
        holding.token = "t" * 32
        await asyncio.to_thread(replaced, state)
        (state / "admin-token.new").mkdir()  # a file cannot be put there
        with capture_logs() as logs:
            for _ in range(2):
                await holding.keep()
            (state / "admin-token.new").rmdir()
            await holding.keep()
        assert [line["event"] for line in logs] == ["state.lost", "state.restored"]
        assert (await asyncio.to_thread(state_dir.admin_token, state))[0] == holding.token


# The token of the admin listener


def test_a_token_is_made_once_and_is_its_users_alone(tmp_path: Path) -> None:
    token, path = state_dir.admin_token(tmp_path)
    assert path == tmp_path / "admin-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 32
    assert path.read_text() == f"{token}\n"
    assert state_dir.admin_token(tmp_path) == (token, path)
    assert [each.name for each in tmp_path.iterdir()] == ["admin-token"]


def read_by_others(path: Path) -> None:
    path.chmod(0o640)


def too_short(path: Path) -> None:
    path.write_text("short")


def empty(path: Path) -> None:
    path.write_text("")


def no_text(path: Path) -> None:
    path.write_bytes(b"\xff" * 64)


def somebody_elses(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@needs_root
@pytest.mark.parametrize("spoil", [read_by_others, too_short, empty, no_text, somebody_elses, a_pipe])
def test_a_token_that_others_may_know_is_replaced(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    old, path = state_dir.admin_token(tmp_path)
    assert path is not None
    spoil(path)
    new, _ = state_dir.admin_token(tmp_path)
    assert new != old
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_uid == os.geteuid()
    assert state_dir.admin_token(tmp_path)[0] == new


def test_a_token_that_cannot_be_kept_is_good_for_this_start_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with capture_logs() as logs:
        token, path = state_dir.admin_token(tmp_path / "file")
    assert (len(token) >= 32, path) == (True, None)
    assert [line["event"] for line in logs] == ["admin.token_lost"]
    assert token not in str(logs)
