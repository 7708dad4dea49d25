"""The whole service in this process: what it opens, in which order, and what it leaves behind."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from tests.proxy.stage import free_ports
from tests.specs import spec_of
from tmppool import app
from tmppool.backends.base import Edition, Traits
from tmppool.backends.fake import FakeBackend
from tmppool.config import Settings
from tmppool.errors import ConfigError, EngineAwayError
from tmppool.ledger import Ledger
from tmppool.ledger_file import left_behind
from tmppool.pool_settings import RepositorySettings


def settings(home: Path, **more: object) -> Settings:
    port, admin_port = free_ports(2)
    given = {
        "backend": "fake",
        "ip": "127.0.0.1",
        "state_dir": home,
        "pool_size": 2,
        "on_exit": "stop",
        "port": port,
        "admin_port": admin_port,
        **more,
    }
    return Settings(**given)  # type: ignore[arg-type]


async def stats(url: str, query: str = "") -> dict[str, object]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}api/stats{query}") as reply:
        return dict(await reply.json())


async def until_warm(url: str, number: int, query: str = "") -> None:
    async with asyncio.timeout(10):
        while (await stats(url, query))["warm"] != number:
            await asyncio.sleep(0.01)


async def test_it_serves_and_leaves_no_task_behind(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with app.service(settings(tmp_path)) as url:
        await until_warm(url, 2)
        async with aiohttp.ClientSession() as session, session.post(f"{url}api/spawn") as reply:
            assert reply.status == 200
    await asyncio.sleep(0)  # a task that was cancelled last ends in the loop's next round
    assert {task.get_name() for task in asyncio.all_tasks() - before} == set()


async def test_each_pool_has_its_own_notebooks_and_limits(tmp_path: Path) -> None:
    given = settings(tmp_path, pools={"small": {"pool_size": 1}})
    async with app.service(given) as url:
        await until_warm(url, 2)
        await until_warm(url, 1, "?pool=small")
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{url}api/spawn?pool=small") as reply:
                assert (await reply.json())["pool"] == "small"
            async with session.post(f"{url}api/spawn?pool=small") as reply:
                assert (reply.status, (await reply.json())["status"]) == (429, "full")
            async with session.post(f"{url}api/spawn?pool=none") as reply:
                assert reply.status == 404
        assert (await stats(url))["warm"] == 2


async def test_a_port_in_use_is_one_sentence_and_touches_nothing(tmp_path: Path) -> None:
    async with app.service(settings(tmp_path / "a")) as url:
        port = int(url.rsplit(":", 1)[1].rstrip("/"))
        with pytest.raises(ConfigError, match=f"^--port: {port} on 127.0.0.1 cannot be bound"):
            async with app.service(settings(tmp_path / "b", port=port, pool_name="b")):
                pass
    assert not (tmp_path / "b" / "ledger.sqlite").exists()


@pytest.mark.parametrize("address", ["no-such-name.invalid", "192.0.2.1"])
@pytest.mark.parametrize("name", ["ip", "admin_ip"])
async def test_an_address_that_is_not_this_machines_is_not_blamed_on_the_port(
    tmp_path: Path, name: str, address: str
) -> None:
    with pytest.raises(ConfigError, match=f"^--{name.replace('_', '-')}: '{address}' cannot be bound: "):
        async with app.service(settings(tmp_path, admin_auth_token="t" * 16, **{name: address})):
            pass


async def test_the_ledger_says_what_ran_the_notebooks(tmp_path: Path) -> None:
    async with app.service(settings(tmp_path)):
        pass
    assert (await asyncio.to_thread(left_behind, tmp_path / "ledger.sqlite"))[0] == "fake"


async def test_the_ledger_is_pruned_while_the_service_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pruned = asyncio.Event()
    monkeypatch.setattr(app, "_PRUNE", 0.05)
    monkeypatch.setattr(Ledger, "prune", lambda _self: pruned.set())
    async with app.service(settings(tmp_path)), asyncio.timeout(10):
        await pruned.wait()


async def test_a_state_directory_that_is_moved_away_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_KEEP", 0.2)
    state = tmp_path / "state"
    async with app.service(given := settings(state)):
        token = (state / "admin-token").read_text()
        await asyncio.to_thread(state.rename, tmp_path / "elsewhere")
        seen = set()
        headers = {"Authorization": f"token {token.strip()}"}
        health = f"http://127.0.0.1:{given.admin_port}/health"
        async with aiohttp.ClientSession(headers=headers) as session, asyncio.timeout(20):
            while seen != {False, True}:
                async with session.get(health) as reply:
                    checks = (await reply.json())["checks"]
                (is_well,) = [check["ok"] for check in checks if check["service"] == "ledger"]
                seen |= {is_well} if seen or not is_well else set()
        async with asyncio.timeout(20):
            while not (state / "admin-token").exists():
                await asyncio.sleep(0.05)
        assert (state / "admin-token").read_text() == token
        assert {"admin-token", "ledger.sqlite", "lock"} <= {part.name for part in state.iterdir()}


async def test_a_start_that_waits_in_vain_leaves_no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later start would trust it, and end what it knows nothing of."""
    monkeypatch.setattr("tmppool.backend_choice.PATIENCE", 0.05)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    with pytest.raises(EngineAwayError), capture_logs():
        async with app.service(settings(tmp_path, backend="auto", public_url="https://nb.example")):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


async def test_two_services_do_not_share_a_state_directory(tmp_path: Path) -> None:
    async with app.service(settings(tmp_path)):
        with pytest.raises(ConfigError, match="already runs"):
            async with app.service(settings(tmp_path)):
                pass


async def test_without_a_port_in_the_command_processes_cannot_be_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--command: it must contain \{port\}"):
        async with app.service(settings(tmp_path, backend="process", allow_root=True, command="server {base_path}")):
            pass


async def test_a_landing_of_an_image_that_would_be_refused_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traits = Traits(isolated=True, edition=Edition("e", "image", spec_of(), landing="/lab/../tree"))

    async def open_(_backend: FakeBackend) -> Traits:
        return traits

    monkeypatch.setattr(FakeBackend, "open", open_)
    with pytest.raises(ConfigError, match=r"^the tmppool\.landing label of .*: '/lab/\.\./tree' is not allowed: "):
        async with app.service(settings(tmp_path)):
            pytest.fail("it serves")


async def test_a_repository_that_no_link_can_name_ends_the_start_before_anything_is_opened(tmp_path: Path) -> None:
    rows = (RepositorySettings(name="gh/o/*"), RepositorySettings(name="git/https://github.com/o/r"))
    with pytest.raises(ConfigError, match=r"^repositories: no link matches 'git/https://github\.com/o/r': .* gh/o/r$"):
        async with app.service(settings(tmp_path, repositories=rows)):
            pytest.fail("it serves")
    assert list(tmp_path.iterdir()) == []


async def test_a_landing_that_would_be_refused_ends_the_start_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--redirect-uri: "):
        async with app.service(settings(tmp_path / "state", redirect_uri="/100%")):
            pytest.fail("it serves")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(("proxies", "count"), [(("0.0.0.0/0", "::/0"), 2), (("127.0.0.1",), 0)])
async def test_proxies_that_may_be_anybody_are_warned_of(tmp_path: Path, proxies: tuple[str, ...], count: int) -> None:
    with capture_logs() as logs:
        async with app.service(settings(tmp_path, trusted_proxies=proxies)):
            pass
    warned = [line["message"] for line in logs if line["event"] == "settings.warned"]
    assert len(warned) == count
    assert all("--trusted-proxies" in message and "holds everybody" in message for message in warned)


@pytest.mark.parametrize(("domain", "count"), [("nb.uni.localhost", 1), ("nb.localhost", 0), (None, 0)])
async def test_pages_that_may_be_a_notebooks_own_are_warned_of(tmp_path: Path, domain: str | None, count: int) -> None:
    given = {"embed_origins": ("https://*.uni.localhost", "*"), "domain_per_notebook": domain}
    with capture_logs() as logs:
        async with app.service(settings(tmp_path, **given)):
            pass
    warned = [line["message"] for line in logs if line["event"] == "settings.warned"]
    assert [message.split(" covers ")[0] for message in warned] == ["--embed-origins: https://*.uni.localhost"] * count
