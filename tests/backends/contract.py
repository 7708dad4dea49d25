"""What every backend promises, asked of each of them: started, found, lost, ended, adopted, and nothing left behind."""

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

import aiohttp
import pytest

from tmppool.backends.base import Backend
from tmppool.errors import BackendError, StartError, TakenError
from tmppool.jupyter import JupyterClient
from tmppool.running import Death, Given, Running

KEY, OTHER = "A" * 11 + "-_" + "z" * 9, "B" * 22

SERVER = """sleep 86399 & exec python3 -c "
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '{base_path}exit':
            os._exit(3)
        self.send_response(200 if self.path.startswith('{base_path}') else 404)
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(b'ok')

    def log_message(self, *words):
        pass

http.server.ThreadingHTTPServer(('{ip}', {port}), Handler).serve_forever()
"
"""
"""Quicker than Jupyter, and it leaves a process of its own beside itself."""

OTHER_SERVER = SERVER.replace("b'ok'", "b'OK'")

FAILING = "echo {base_path} >/dev/null; echo first words; echo last words >&2; exit 3"
NEVER_READY = "echo {base_path} >/dev/null; sleep 86399"


class Site(ABC):
    """Where a backend can be tried: makes backends, and looks behind their backs."""

    @abstractmethod
    async def make(self, service: str = "one", *, command: str = SERVER, start_timeout: float = 20.0) -> Backend:
        """Return an opened backend of that service. A second one of a name finds what the first one started."""

    @abstractmethod
    async def kill(self, key: str) -> None:
        """Let a notebook of the service ``one`` end by itself."""

    async def exit(self, running: Running) -> None:
        """Let a notebook's server exit by itself."""
        with contextlib.suppress(aiohttp.ClientError):
            await status(running, f"{running.base_path}exit")

    @abstractmethod
    async def leftovers(self, key: str) -> list[str]:
        """Return what there is on this machine of a notebook of the service ``one``, as words."""


async def status(running: Running, path: str) -> int:
    async with JupyterClient(running) as jupyter, jupyter.session.get(f"{jupyter.origin}{path}") as reply:
        return reply.status


async def started(backend: Backend, key: str = KEY) -> Running:
    """Start one of the backend's own spec."""
    return await backend.start(key, backend.edition)


async def until(is_so: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not await is_so():
            await asyncio.sleep(0.02)


class Contract:
    """Subclasses provide the fixture ``site``.

    The server can be told to exit, by a request for ``exit`` below its base path.
    """

    async def test_a_started_notebook_answers_at_its_base_path(self, site: Site) -> None:
        backend = await site.make()
        before = time.time()
        running = await backend.start(KEY, backend.edition)
        assert running.key == KEY
        assert running.base_path == f"/user/{KEY}/"
        assert len(running.token) >= 16
        assert abs(running.created_at - before) < 30
        assert await status(running, f"/user/{KEY}/api") == 200
        assert await site.leftovers(KEY) != []

    async def test_the_list_shows_what_runs(self, site: Site) -> None:
        backend = await site.make()
        assert await backend.list() == []
        running = await backend.start(KEY, backend.edition)
        (listed,) = await backend.list()
        assert (listed.key, listed.token, listed.secret) == (running.key, running.token, running.secret)
        assert (listed.dial.host, listed.dial.port) == (running.dial.host, running.dial.port)
        assert abs(listed.created_at - running.created_at) < 10
        assert await status(listed, listed.base_path) == 200

    async def test_what_was_given_away_is_told_by_the_list_of_any_later_backend(self, site: Site) -> None:
        backend = await site.make()
        await asyncio.gather(backend.start(KEY, backend.edition), backend.start(OTHER, backend.edition))
        for _ in range(2):
            await backend.give(KEY)
            assert {item.key: item.given for item in await backend.list()} == {KEY: Given.YES, OTHER: Given.NO}
        await backend.close()
        heir = await site.make()
        listed = {item.key: item for item in await heir.list()}
        assert {key: item.given for key, item in listed.items()} == {KEY: Given.YES, OTHER: Given.NO}
        assert await status(listed[KEY], listed[KEY].base_path) == 200
        await heir.stop(KEY)
        assert await site.leftovers(KEY) == []

    async def test_what_one_service_gave_away_another_cannot(self, site: Site) -> None:
        backend = await site.make()
        await started(backend)
        await backend.give(KEY)
        await backend.close()
        heir = await site.make()
        await heir.list()
        with pytest.raises(TakenError):
            await heir.give(KEY)
        assert [(item.key, item.given) for item in await heir.list()] == [(KEY, Given.YES)]

    async def test_what_is_gone_cannot_be_given_away(self, site: Site) -> None:
        backend = await site.make()
        await backend.start(KEY, backend.edition)
        await backend.stop(KEY)
        with pytest.raises(BackendError):
            await backend.give(KEY)

    async def test_several_start_at_once_and_are_apart(self, site: Site) -> None:
        backend = await site.make()
        one, other = await asyncio.gather(backend.start(KEY, backend.edition), backend.start(OTHER, backend.edition))
        assert one.token != other.token
        assert {running.key for running in await backend.list()} == {KEY, OTHER}
        await backend.stop(KEY)
        assert [running.key for running in await backend.list()] == [OTHER]
        assert await status(other, other.base_path) == 200

    async def test_a_stop_removes_it_and_everything_of_it(self, site: Site) -> None:
        backend = await site.make()
        running = await backend.start(KEY, backend.edition)
        await backend.stop(KEY)
        assert await backend.list() == []
        assert await site.leftovers(KEY) == []
        with pytest.raises((aiohttp.ClientError, OSError)):
            await status(running, running.base_path)

    async def test_stopping_what_is_gone_or_never_was_is_success(self, site: Site) -> None:
        backend = await site.make()
        await backend.stop(KEY)
        await backend.start(KEY, backend.edition)
        await backend.stop(KEY)
        await backend.stop(KEY)

    async def test_a_death_is_reported(self, site: Site) -> None:
        backend = await site.make()
        deaths = backend.deaths()
        first = asyncio.ensure_future(anext(deaths))
        await backend.start(KEY, backend.edition)
        await backend.start(OTHER, backend.edition)
        await site.kill(OTHER)
        async with asyncio.timeout(10):
            assert await first == OTHER
        await backend.stop(OTHER)
        assert [running.key for running in await backend.list()] == [KEY]
        assert await site.leftovers(OTHER) == []
        await deaths.aclose()

    async def test_one_that_is_well_answers_pings_also_several_at_a_time(self, site: Site) -> None:
        backend = await site.make()
        await asyncio.gather(*(backend.ping() for _ in range(3)))
        await started(backend)
        await backend.ping()

    async def test_one_that_died_is_not_listed(self, site: Site) -> None:
        backend = await site.make()
        await backend.start(KEY, backend.edition)
        await site.kill(KEY)

        async def is_gone() -> bool:
            return await backend.list() == []

        await until(is_gone)
        assert await site.leftovers(KEY) == []

    @pytest.mark.parametrize("is_listed", [False, True])
    async def test_how_one_ended_is_told_also_once_its_remains_are_cleared_away(
        self,
        site: Site,
        is_listed: bool,  # noqa: FBT001
    ) -> None:
        backend = await site.make()
        deaths = backend.deaths()
        told = [asyncio.ensure_future(anext(deaths))]
        await backend.start(KEY, backend.edition)
        other = await backend.start(OTHER, backend.edition)
        assert await backend.death(KEY) is Death.UNKNOWN
        await site.kill(KEY)
        async with asyncio.timeout(10):
            assert await told[0] == KEY
        await site.exit(other)
        async with asyncio.timeout(10):
            assert await anext(deaths) == OTHER
        if is_listed:
            assert await backend.list() == []
        for _ in range(2):
            assert [await backend.death(key) for key in (KEY, OTHER)] == [Death.KILLED, Death.EXITED]
        for key in (KEY, OTHER):
            await backend.stop(key)
            assert await backend.death(key) is Death.UNKNOWN
        await deaths.aclose()

    async def test_how_a_strangers_ended_is_not_known(self, site: Site) -> None:
        assert await (await site.make()).death(KEY) is Death.UNKNOWN

    async def test_a_command_that_fails_tells_its_last_words_and_leaves_nothing(self, site: Site) -> None:
        backend = await site.make(command=FAILING)
        with pytest.raises(StartError) as caught:
            await backend.start(KEY, backend.edition)
        assert "last words" in caught.value.log_tail
        assert "\n" not in str(caught.value)
        assert await backend.list() == []
        assert await site.leftovers(KEY) == []

    async def test_a_start_that_is_cancelled_leaves_nothing(self, site: Site) -> None:
        backend = await site.make()
        for delay in (0.0, 0.01, 0.03, 0.1, 0.2):
            starting = asyncio.ensure_future(backend.start(KEY, backend.edition))
            await asyncio.sleep(delay)
            starting.cancel()
            await asyncio.wait({starting})
            if not starting.cancelled():  # it was quicker
                await backend.stop(KEY)

            async def is_clear() -> bool:
                return await backend.list() == [] and await site.leftovers(KEY) == []

            await until(is_clear)

    async def test_close_keeps_notebooks_and_the_next_backend_finds_and_reaches_them(self, site: Site) -> None:
        backend = await site.make()
        running = await backend.start(KEY, backend.edition)
        await backend.close()

        heir = await site.make()
        (listed,) = await heir.list()
        assert (listed.key, listed.token) == (KEY, running.token)
        assert await status(listed, listed.base_path) == 200

        deaths = heir.deaths()
        first = asyncio.ensure_future(anext(deaths))
        await asyncio.sleep(0)
        await site.kill(KEY)
        async with asyncio.timeout(10):
            assert await first == KEY
        await heir.stop(KEY)
        assert await site.leftovers(KEY) == []
        await deaths.aclose()

    async def test_an_heir_can_stop_what_it_did_not_start(self, site: Site) -> None:
        backend = await site.make()
        await backend.start(KEY, backend.edition)
        await backend.close()
        heir = await site.make()
        await heir.list()
        await heir.stop(KEY)
        assert await heir.list() == []
        assert await site.leftovers(KEY) == []

    async def test_two_services_do_not_see_each_other(self, site: Site) -> None:
        one, two = await site.make("one"), await site.make("two")
        first, second = await one.start(KEY, one.edition), await two.start(OTHER, two.edition)
        assert [running.key for running in await one.list()] == [KEY]
        assert [running.key for running in await two.list()] == [OTHER]
        await two.stop(OTHER)
        assert await status(first, first.base_path) == 200
        assert second.token != first.token

    async def test_an_edition_is_told_by_what_was_started_as_it_and_by_any_later_list(self, site: Site) -> None:
        backend = await site.make()
        other = await backend.prepare(replace(backend.edition.spec, start_timeout=19.0, command=OTHER_SERVER))
        assert (other.spec.service, other.spec.pool) == (backend.edition.spec.service, backend.edition.spec.pool)
        assert other.id not in ("", backend.edition.id)
        one, two = await asyncio.gather(started(backend), backend.start(OTHER, other))
        assert (one.edition, two.edition) == (backend.edition.id, other.id)
        wanted = {KEY: one.edition, OTHER: two.edition}
        assert {item.key: item.edition for item in await backend.list()} == wanted
        await backend.close()
        heir = await site.make()
        assert heir.edition.id == backend.edition.id
        assert {item.key: item.edition for item in await heir.list()} == wanted
        for running in await heir.list():
            assert await status(running, running.base_path) == 200

    async def test_the_same_spec_is_the_same_edition_whatever_service_it_names(self, site: Site) -> None:
        backend = await site.make()
        foreign = await backend.prepare(replace(backend.edition.spec, service="another", pool="another"))
        assert foreign == backend.edition


class CommandContract(Contract):
    """For backends that run a command."""

    async def test_one_that_does_not_answer_in_time_is_given_up_and_leaves_nothing(self, site: Site) -> None:
        backend = await site.make(command=NEVER_READY, start_timeout=1.0)
        with pytest.raises(StartError, match=r"did not answer within 1 s: "):
            await backend.start(KEY, backend.edition)
        assert await backend.list() == []
        assert await site.leftovers(KEY) == []
