"""Talking to an engine: bounds, errors, and events without end. The engine here is a small one on a Unix socket."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiodocker
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tmppool.backends import engine
from tmppool.backoff import Backoff
from tmppool.errors import BackendError

LABELS = ["tmppool.service=one", "tmppool.pool=main"]
KEY_LABEL = "tmppool.key"
EVENTS = ["start", "kill", "oom", "die", "destroy", "pause", "unpause"]
Answer = Callable[[web.Request], object]


def said(body: object, status: int = 200) -> web.Response:
    """Answer as an engine does: aiodocker reads an error's message only under this very type."""
    return web.Response(body=json.dumps(body).encode(), status=status, headers={"Content-Type": "application/json"})


def output(text: str) -> web.Response:
    """Answer with what a container has printed, in one frame."""
    body = text.encode()
    kind = "application/vnd.docker.raw-stream"
    return web.Response(body=b"\x01\0\0\0" + len(body).to_bytes(4) + body, headers={"Content-Type": kind})


class SmallEngine:
    """Speaks as much of the Docker Engine API as a test needs. ``answers`` maps a path's end to a handler."""

    def __init__(self, path: Path) -> None:
        self.url = f"unix://{path}"
        self.path = path
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.answers: dict[str, Answer] = {"version": lambda _request: said({"ApiVersion": "1.41"})}
        self.streams: list[asyncio.Queue[object]] = []
        self.past: list[object] = []

    async def open(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._handle)
        self.runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.UnixSite(self.runner, str(self.path)).start()

    async def close(self) -> None:
        await self.runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path, dict(request.query)))
        for end, answer in self.answers.items():
            if request.path.endswith(f"/{end}"):
                found = answer(request)
                return await found if asyncio.iscoroutine(found) else found
        return said({"message": "no such thing"}, 404)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream what the test puts into the newest queue of ``streams``; None ends it. Or tell what is ``past``."""
        if "until" in request.query:
            return web.Response(text="".join(f"{json.dumps(event)}\n" for event in self.past))
        queue: asyncio.Queue[object] = asyncio.Queue()
        self.streams.append(queue)
        response = web.StreamResponse()
        await response.prepare(request)
        while (event := await queue.get()) is not None:
            await response.write(json.dumps(event).encode() + b"\n")
        return response

    def subscriptions(self) -> list[dict[str, str]]:
        return [query for _, path, query in self.asked if path.endswith("/events")]


def died(key: str | None) -> dict[str, object]:
    return {"Type": "container", "Action": "die", "Actor": {"Attributes": {KEY_LABEL: key} if key else {}}}


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0)


@pytest.fixture
async def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SmallEngine]:
    made = SmallEngine(tmp_path / "engine.sock")
    made.answers["events"] = made.events
    await made.open()
    monkeypatch.setenv("DOCKER_HOST", made.url)
    monkeypatch.setattr(engine, "Backoff", lambda **_times: Backoff(first=0.001, cap=0.001))
    yield made
    await made.close()


class Watched:
    """``engine.events`` running beside the test: the keys that it yielded, and the events."""

    def __init__(self, docker: aiodocker.Docker) -> None:
        self.yielded: list[str | None] = []
        self.events: list[engine.Event | None] = []
        self._docker = docker
        self.task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        async for event in engine.events(self._docker, LABELS, KEY_LABEL):
            self.yielded.append(event if event is None else event.key)
            self.events.append(event)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


@pytest.fixture
async def watched(docker: aiodocker.Docker) -> AsyncIterator[Watched]:
    made = Watched(docker)
    yield made
    await made.stop()


# Events


async def test_a_death_is_yielded(small: SmallEngine, watched: Watched) -> None:
    await until(lambda: small.streams)
    small.streams[0].put_nowait(died("a"))
    small.streams[0].put_nowait(died("b"))
    await until(lambda: len(watched.yielded) == 2)
    assert watched.yielded == ["a", "b"]


async def test_only_our_own_containers_ends_and_pauses_are_asked_for(small: SmallEngine, watched: Watched) -> None:
    before = time.time()
    await until(lambda: small.streams)
    (query,) = small.subscriptions()
    assert json.loads(query["filters"]) == {"type": ["container"], "event": EVENTS, "label": LABELS}
    assert before - 30 < float(query["since"]) < before + 30


async def test_an_event_tells_what_happened_when_and_with_which_exit_code(small: SmallEngine, watched: Watched) -> None:
    await until(lambda: small.streams)
    end = {"Actor": {"Attributes": {KEY_LABEL: "a", "exitCode": "137"}}, "timeNano": 1_500_000_000, "Action": "die"}
    pause = {"Actor": {"Attributes": {KEY_LABEL: "a"}}, "timeNano": 2_000_000_000, "Action": "pause"}
    about = {KEY_LABEL: "a", "signal": "28"}  # SIGWINCH
    harmless = {"Actor": {"Attributes": about}, "timeNano": 1_000_000_000, "Action": "kill"}
    for said_so in (harmless, end, pause):
        small.streams[0].put_nowait(said_so)
    await until(lambda: len(watched.events) == 2)
    assert watched.events == [engine.Event("a", "die", 1.5, 137), engine.Event("a", "pause", 2.0)]


async def test_what_an_engine_remembers_of_a_container_is_asked_for(
    small: SmallEngine, docker: aiodocker.Docker
) -> None:
    small.past = [died(None), died("a") | {"timeNano": 1_000_000_000}]
    assert await engine.past_events(docker, "id", KEY_LABEL) == [engine.Event("a", "die", 1.0)]
    (query,) = small.subscriptions()
    assert json.loads(query["filters"]) == {"type": ["container"], "event": EVENTS[1:], "container": ["id"]}
    assert float(query["since"]) < float(query["until"]) < time.time() + 1
    small.past = [{"Actor": 7}]
    with pytest.raises(BackendError, match="nonsense"):
        await engine.past_events(docker, "id", KEY_LABEL)


async def test_after_a_break_it_listens_from_the_last_event_on(small: SmallEngine, watched: Watched) -> None:
    """By the engine's clock: an event may come late, and others that happened soon after it are then still to come."""
    await until(lambda: small.streams)
    small.streams[0].put_nowait(died("a") | {"timeNano": 5_000_000_000})
    await until(lambda: watched.yielded)
    with capture_logs():
        small.streams[0].put_nowait(None)
        await until(lambda: len(small.streams) == 2)
    assert float(small.subscriptions()[1]["since"]) == 4


async def test_an_event_without_a_key_is_passed_over(small: SmallEngine, watched: Watched) -> None:
    await until(lambda: small.streams)
    for event in (died(None), {}, died("a")):
        small.streams[0].put_nowait(event)
    await until(lambda: watched.yielded)
    assert watched.yielded == ["a"]


async def test_when_the_stream_ends_it_says_so_and_subscribes_again(small: SmallEngine, watched: Watched) -> None:
    await until(lambda: small.streams)
    with capture_logs() as logs:
        small.streams[0].put_nowait(None)
        await until(lambda: len(small.streams) == 2)
    small.streams[1].put_nowait(died("a"))
    await until(lambda: len(watched.yielded) == 3)
    assert watched.yielded == [None, None, "a"]
    assert [line["event"] for line in logs] == ["engine.events_ended"]


async def test_it_says_so_at_once_and_before_it_listens_from_before_that(
    small: SmallEngine, docker: aiodocker.Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What dies between a look at what runs and the subscription is in the stream, which begins before the look."""
    monkeypatch.setattr(engine, "Backoff", lambda **_times: Backoff(first=0.3, cap=0.3))
    events, clock = engine.events(docker, LABELS, KEY_LABEL), time.time
    first = asyncio.ensure_future(anext(events))
    await until(lambda: small.streams)
    with capture_logs():
        small.streams[0].put_nowait(None)
        assert await first is None
    began = time.monotonic()
    assert await anext(events) is None
    assert time.monotonic() - began > 0.2
    looked_at = clock()
    assert len(small.streams) == 1
    monkeypatch.setattr(engine.time, "time", lambda: clock() + 60)
    second = asyncio.ensure_future(anext(events))
    await until(lambda: len(small.streams) == 2)
    assert float(small.subscriptions()[1]["since"]) < looked_at
    small.streams[1].put_nowait(died("a"))
    event = await second
    assert event is not None
    assert event.key == "a"
    await events.aclose()


async def test_an_engine_that_refuses_is_asked_again(small: SmallEngine, docker: aiodocker.Docker) -> None:
    refusals = []

    def refuse(_request: web.Request) -> web.Response:
        refusals.append(1)
        return said({"message": "not\nnow"}, 500)

    small.answers["events"] = refuse
    watched = Watched(docker)
    with capture_logs() as logs:
        await until(lambda: len(refusals) >= 3)
    small.answers["events"] = small.events
    await until(lambda: small.streams)
    small.streams[0].put_nowait(died("a"))
    await until(lambda: watched.yielded[-1:] == ["a"])
    assert set(watched.yielded[:-1]) == {None}
    assert [line["event"] for line in logs] == ["engine.events_lost"]  # once, not at each try
    await watched.stop()


async def test_an_engine_that_goes_away_and_comes_back_is_listened_to_again(
    small: SmallEngine, watched: Watched
) -> None:
    await until(lambda: small.streams)
    await small.close()
    await until(lambda: len(watched.yielded) >= 3)
    await small.open()
    await until(lambda: len(small.streams) == 2)
    small.streams[1].put_nowait(died("a"))
    await until(lambda: watched.yielded[-1] == "a")
    assert set(watched.yielded[:-1]) == {None}


async def test_who_stops_listening_leaves_no_task_and_no_connection(
    small: SmallEngine, docker: aiodocker.Docker
) -> None:
    before = asyncio.all_tasks()
    watched = Watched(docker)
    await until(lambda: small.streams)
    await watched.stop()
    names = {task.get_name() for task in asyncio.all_tasks() - before}
    assert "engine events" not in names


# Calls


async def answer_after(event: asyncio.Event) -> None:
    await event.wait()


async def test_a_call_without_answer_is_given_up() -> None:
    with pytest.raises(BackendError, match=r"^the engine did not list containers within 0 s$"):
        await engine.call("list containers", answer_after(asyncio.Event()), 0.01)


async def failing(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("status", [400, 404, 409, 500])
async def test_a_refusal_keeps_its_status_and_what_was_said(status: int) -> None:
    with pytest.raises(engine.RefusedError) as caught:
        await engine.call("start it", failing(aiodocker.DockerError(status, "no\nsuch")), 5)
    assert (caught.value.status, caught.value.said) == (status, "no such")
    assert str(caught.value) == "the engine could not start it: no such"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (aiodocker.DockerError(500, "no\n  space"), "the engine could not start a container: no space"),
        (OSError("broken pipe"), "the engine did not answer when asked to start a container: broken pipe"),
        (KeyError("Id"), "the engine answered nonsense when asked to start a container: KeyError('Id')"),
        (
            aiodocker.DockerError(900, "no route"),
            "the engine did not answer when asked to start a container",
        ),
    ],
)
async def test_every_other_error_is_ours_and_one_line(error: Exception, sentence: str) -> None:
    with pytest.raises(BackendError) as caught:
        await engine.call("start a container", failing(error), 5)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_without_end_is_given_up(small: SmallEngine, docker: engine.Client, status: int) -> None:
    async def fail(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:
            await response.write(b'{"Id": "x"},' * 10_000)

    small.answers["containers/json"] = small.answers["logs"] = small.answers["one/json"] = fail
    told = "^the engine answered with more than 8 MiB when asked to "
    with pytest.raises(BackendError, match=f"{told}list containers$"):
        await engine.containers(docker, LABELS)
    with pytest.raises(BackendError, match=f"{told}list a container$"):
        await engine.ping(docker)
    with pytest.raises(BackendError, match=f"{told}inspect a container$"):
        await engine.inspect(docker, "one")
    with pytest.raises(BackendError, match=f"{told}read a log$"):
        await engine.log(docker.containers.container("one"))


async def test_who_stops_reading_an_answer_leaves_no_connection(small: SmallEngine, docker: engine.Client) -> None:
    begun = asyncio.Event()

    async def begin(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    small.answers["one/json"] = begin
    asking = asyncio.ensure_future(engine.inspect(docker, "one"))
    await begun.wait()
    await asyncio.sleep(0.1)
    asking.cancel()
    await asyncio.wait({asking})
    assert not docker.session.connector._acquired


async def test_an_answer_is_bounded_after_an_illness_too(
    small: SmallEngine, scripted: "Scripted", docker: engine.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_MOST", 1 << 20)
    scripted.script = [500, 500]
    assert await outcomes(docker, 2) == [False, True]
    small.answers["one/json"] = lambda _request: said({"Id": "x" * (1 << 20)})
    small.answers["two/json"] = lambda _request: said({"Id": "x" * (1 << 19)})
    with pytest.raises(BackendError, match="with more than 1 MiB"):
        await engine.inspect(docker, "one")
    assert len((await engine.inspect(docker, "two"))["Id"]) == 1 << 19


async def test_what_a_container_prints_is_read_in_order_whatever_it_is(
    small: SmallEngine, docker: engine.Client
) -> None:
    frames = [b"\x01\0\0\0\0\0\0\x02a\xc3", b"\x02\0\0\0\0\0\0\x02\xa4\xff", b"\x01\0\0\0\0\0\0\x09cut"]
    small.answers["one/logs"] = lambda _request: web.Response(body=b"".join(frames))
    assert await engine.log(docker.containers.container("one"), 3) == "aä\ufffdcut"
    assert small.asked[-1][2] == {"stdout": "1", "stderr": "1", "tail": "3"}


async def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        await engine.call("x", failing(ZeroDivisionError()), 5)


# Pings


class Scripted:
    """Answers each list of one container with what is next in ``script``, a status or an event to wait for; then well.

    ``limits`` are what was asked.
    """

    def __init__(self, small: SmallEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "_CONFIRM", 0.0)
        self.script: list[int | asyncio.Event] = []
        self.limits: list[str | None] = []
        small.answers["containers/json"] = self._answer

    async def _answer(self, request: web.Request) -> web.Response:
        self.limits.append(request.query.get("limit"))
        step = self.script.pop(0) if self.script else 200
        if isinstance(step, int):
            return said([] if step == 200 else {"message": "ill"}, step)
        await step.wait()
        return said([])


@pytest.fixture
def scripted(small: SmallEngine, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    return Scripted(small, monkeypatch)


async def outcomes(docker: engine.Client, times: int) -> list[bool]:
    """Return which of so many pings, one after the other, found the engine well."""
    found = []
    for _ in range(times):
        try:
            await engine.ping(docker)
        except BackendError:
            found.append(False)
        else:
            found.append(True)
    return found


async def test_a_ping_asks_for_one_container(scripted: Scripted, docker: engine.Client) -> None:
    await engine.ping(docker)
    assert scripted.limits == ["1"]


async def test_one_refusal_is_no_illness_and_one_answer_no_recovery(scripted: Scripted, docker: engine.Client) -> None:
    scripted.script = [500, 200, 500, 500, 200, 500, 200, 200, 200]
    assert await outcomes(docker, 5) == [True, False, False, True, True]
    assert docker.illness is None


async def test_an_answer_that_takes_its_time_is_no_illness_and_none_is_one(
    scripted: Scripted, docker: engine.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = asyncio.Event()
    scripted.script = [answer]
    asking = asyncio.ensure_future(engine.ping(docker))
    await until(lambda: not scripted.script)
    answer.set()
    await asking
    monkeypatch.setattr(engine, "PULSE_TIMEOUT", 0.01)
    scripted.script = [asyncio.Event()]
    with pytest.raises(engine.SilentError, match=r"^the engine did not list a container within 0 s$"):
        await engine.ping(docker)


async def test_a_silence_is_no_illness_if_a_later_question_is_answered(
    scripted: Scripted, docker: engine.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PULSE_TIMEOUT", 0.5)
    scripted.script = [asyncio.Event()]
    asking = asyncio.ensure_future(engine.ping(docker))
    await until(lambda: not scripted.script)
    await engine.ping(docker)
    await asking


@pytest.mark.parametrize("is_silent", [True, False])
async def test_an_engine_that_lists_and_tells_of_no_container_is_ill(
    small: SmallEngine,
    scripted: Scripted,
    docker: engine.Client,
    monkeypatch: pytest.MonkeyPatch,
    is_silent: bool,  # noqa: FBT001
) -> None:
    async def fail(_request: web.Request) -> web.Response:
        if is_silent:
            await asyncio.Event().wait()
        return said({"message": "ill"}, 500)

    monkeypatch.setattr(engine, "PULSE_TIMEOUT", 0.5)
    small.answers["containers/one/json"] = small.answers["containers/two/json"] = fail
    with pytest.raises(BackendError, match="inspect a container"):
        await engine.ping(docker, ["one", "two"])
    small.answers["containers/two/json"] = lambda _request: said({"Id": "two"})  # the other is stuck by itself
    await engine.ping(docker, ["one", "two"])
    await engine.ping(docker, ["gone"])


async def test_one_refusal_to_tell_of_a_container_is_no_illness(
    small: SmallEngine, scripted: Scripted, docker: engine.Client
) -> None:
    script = [500, 200, 500, 500]
    small.answers["containers/one/json"] = lambda _request: said({"message": "ill"}, script.pop(0))
    await engine.ping(docker, ["one"])
    with pytest.raises(engine.RefusedError):
        await engine.ping(docker, ["one"])
    assert not script


async def test_calls_of_an_illness_are_given_up_after_it_and_no_others(
    small: SmallEngine, scripted: Scripted, docker: engine.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_PARTING", 0.05)
    asked: list[str] = []

    async def say_nothing(request: web.Request) -> web.Response:
        asked.append(request.path)
        await asyncio.Event().wait()
        raise AssertionError

    small.answers["containers/lost"] = small.answers["containers/slow"] = say_nothing
    lost = asyncio.ensure_future(engine.remove(docker, "lost"))
    await until(lambda: asked)
    scripted.script = [500, 500]
    assert await outcomes(docker, 2) == [False, True]
    slow = asyncio.ensure_future(engine.remove(docker, "slow"))
    with pytest.raises(BackendError, match="did not answer when asked to remove a container"):
        await asyncio.wait_for(lost, 10)
    assert await outcomes(docker, 3) == [True] * 3
    await asyncio.wait({slow}, timeout=0.2)
    assert not slow.done()
    slow.cancel()
    await asyncio.wait({slow})


@pytest.mark.parametrize("has_heard", [True, False])
async def test_events_are_heard_again_after_an_illness(
    small: SmallEngine,
    scripted: Scripted,
    docker: engine.Client,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_heard: bool,
) -> None:
    """The stream of before is on a connection that is closed, and whoever reads there is not told."""
    monkeypatch.setattr(engine, "_PARTING", 0.05)
    watched = Watched(docker)
    await until(lambda: small.streams)
    if has_heard:
        small.streams[0].put_nowait(died("before"))
        await until(lambda: watched.yielded[-1:] == ["before"])
    scripted.script = [500, 500]
    assert await outcomes(docker, 2) == [False, True]
    with capture_logs():
        await until(lambda: len(small.streams) == 2)
    small.streams[1].put_nowait(died("after"))
    await until(lambda: watched.yielded[-1:] == ["after"])
    assert None in watched.yielded  # what ended meanwhile is looked for
    await watched.stop()


async def test_lost_calls_do_not_keep_pings_from_being_asked(
    small: SmallEngine, scripted: Scripted, docker: engine.Client
) -> None:
    async def say_nothing(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    small.answers["containers/lost"] = say_nothing
    lost = [asyncio.ensure_future(engine.remove(docker, "lost")) for _ in range(120)]
    await asyncio.sleep(0.1)
    await asyncio.wait_for(engine.ping(docker), 10)
    assert scripted.limits == ["1"]
    for each in lost:
        each.cancel()
    await asyncio.wait(lost)


async def test_who_waits_for_an_end_waits_on_after_an_illness(
    small: SmallEngine, scripted: Scripted, docker: engine.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_PARTING", 0.0)
    asked: list[str] = []

    async def wait(request: web.Request) -> web.Response:
        asked.append(request.path)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return said({"StatusCode": 0})

    small.answers["containers/one/wait"] = wait
    waiting = asyncio.ensure_future(engine.wait(docker, docker.containers.container("one")))
    await until(lambda: asked)
    scripted.script = [500, 500]
    assert await outcomes(docker, 2) == [False, True]
    await asyncio.wait_for(waiting, 10)
    assert len(asked) == 2


async def test_a_client_that_is_closed_closes_its_former_connections_too(
    scripted: Scripted, docker: engine.Client
) -> None:
    former = docker.session
    scripted.script = [500, 500]
    assert await outcomes(docker, 2) == [False, True]
    assert not former.closed
    await docker.close()
    assert former.closed


# Renames


class Renaming:
    """An engine that renames a container, and answers each such question with what is next in ``script``.

    A status below 0 is answered, without the minus, to what was not done.
    """

    def __init__(self, small: SmallEngine, *script: int) -> None:
        self.name, self.script = "old", list(script)
        small.answers["one/rename"] = self._rename
        small.answers["one/json"] = lambda _request: said({"Name": f"/{self.name}"})

    def _rename(self, request: web.Request) -> web.Response:
        status = self.script.pop(0)
        if self.name == request.query["name"]:
            return said({"message": "it has that name"}, 409)
        if status > 0:
            self.name = request.query["name"]
        return web.Response(status=204) if status == 204 else said({"message": "input/output error"}, abs(status))


@pytest.mark.parametrize("script", [(204,), (500,), (-500, 204), (-500, 500)])
async def test_a_container_that_has_its_new_name_is_renamed_whatever_the_engine_says(
    small: SmallEngine, docker: engine.Client, monkeypatch: pytest.MonkeyPatch, script: tuple[int, ...]
) -> None:
    monkeypatch.setattr(engine, "_CONFIRM", 0.0)
    renaming = Renaming(small, *script)
    with capture_logs() as logs:
        assert await engine.rename(docker, "one", "new")
    assert renaming.script == []
    assert [line["event"] for line in logs] == ["engine.disproved"] * (500 in script)
    renaming.script = [500]
    assert not await engine.rename(docker, "one", "new")


async def test_a_container_that_keeps_its_name_is_not_renamed(
    small: SmallEngine, docker: engine.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_CONFIRM", 0.0)
    renaming = Renaming(small, -500, -500)
    with pytest.raises(engine.RefusedError, match="could not rename a container: input/output error"):
        await engine.rename(docker, "one", "new")
    assert renaming.script == []
    renaming.script = [-500, -500]
    small.answers["one/json"] = lambda _request: said({"message": "ill"}, 500)
    with pytest.raises(engine.RefusedError, match="could not rename a container: input/output error"):
        await engine.rename(docker, "one", "new")


@pytest.mark.parametrize("is_done", [True, False])
async def test_after_a_silence_it_is_seen_if_a_container_was_renamed(
    small: SmallEngine,
    docker: engine.Client,
    monkeypatch: pytest.MonkeyPatch,
    is_done: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(engine, "RENAME_TIMEOUT", 0.05)
    renaming = Renaming(small)

    async def say_nothing(_request: web.Request) -> web.Response:
        renaming.name = "new" if is_done else "old"
        await asyncio.Event().wait()
        raise AssertionError

    small.answers["one/rename"] = say_nothing
    if is_done:
        with capture_logs():
            assert await engine.rename(docker, "one", "new")
    else:
        with pytest.raises(engine.SilentError):
            await engine.rename(docker, "one", "new")


# Removals


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (409, "removal of container x is already in progress"),
        (500, "Could not kill running container x, cannot remove - Container x is not running"),
        (500, 'driver "overlay2" failed to remove root filesystem: device or resource busy'),
    ],
)
async def test_a_removal_that_is_refused_is_asked_for_again(
    small: SmallEngine, docker: aiodocker.Docker, status: int, message: str
) -> None:
    answers = [said({"message": message}, status), said({"message": message}, status), web.Response(status=204)]
    asked: list[dict[str, str]] = []

    def delete(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return answers.pop(0) if answers else said({"message": "no such container"}, 404)

    small.answers["containers/one"] = delete
    await engine.remove(docker, "one")
    assert not answers
    assert asked[0] == {"force": "1", "v": "1"}


async def test_a_removal_that_is_always_refused_ends_and_says_why(
    small: SmallEngine, docker: aiodocker.Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "DELETE_TIMEOUT", 0.2)
    small.answers["containers/one"] = lambda _request: said({"message": "busy\nfor ever"}, 500)
    with pytest.raises(BackendError, match=r"^the engine did not remove a container within 0 s: busy for ever$"):
        await engine.remove(docker, "one")


# Is there one?


async def test_an_engine_that_answers_is_found(small: SmallEngine) -> None:
    assert await engine.answers()


async def test_an_engine_that_is_ill_does_not_answer(small: SmallEngine) -> None:
    small.answers["version"] = lambda _request: said({"message": "ill"}, 500)
    assert not await engine.answers()


@pytest.mark.parametrize("host", ["unix:///nowhere/at.all", "tcp://127.0.0.1:1", "nonsense", "ftp://x"])
async def test_where_none_is_none_answers(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert not await engine.answers()


async def test_whether_an_image_is_there(small: SmallEngine) -> None:
    small.answers["images/known/json"] = lambda _request: said({"Id": "x"})
    assert await engine.has_image("known")
    assert not await engine.has_image("unknown")


async def test_an_ill_engine_does_not_say_that_an_image_is_missing(small: SmallEngine) -> None:
    small.answers["images/known/json"] = lambda _request: said({"message": "ill"}, 500)
    with pytest.raises(BackendError, match=r"^the engine could not inspect an image: ill$"):
        await engine.has_image("known")


async def test_a_list_of_volumes_that_passes_over_its_filter_names_none_of_somebody_else(
    small: SmallEngine, docker: engine.Client
) -> None:
    """Volumes that nothing uses are removed where they are ours; an operator's own hold data."""
    labels = {"ours": {"tmppool.service": "one", "tmppool.volume": "home"}, "plain": None, "named": {"backup": "daily"}}
    labels |= {"another's": {"tmppool.service": "two", "tmppool.volume": "home"}}
    listed = {"Volumes": [{"Name": name, "Labels": has} for name, has in labels.items()]}
    small.answers["volumes"] = lambda _request: said(listed)
    assert await engine.volumes(docker, ["tmppool.service=one", "tmppool.volume"]) == ["ours"]


@pytest.mark.parametrize("status", [200, 500])
async def test_a_ping_does_not_wait_for_a_container_that_is_stuck(
    small: SmallEngine, docker: engine.Client, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(engine, "_CONFIRM", 0.0)

    async def never(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    small.answers |= {
        "containers/json": lambda _request: said([] if status == 200 else {"message": "ill"}, status),
        "stuck/json": never,
        "well/json": lambda _request: said({"Id": "well"}),
    }
    async with asyncio.timeout(engine.PULSE_TIMEOUT / 2):
        if status == 200:
            await engine.ping(docker, ["stuck", "well"])
        else:
            with pytest.raises(BackendError, match="ill"):
                await engine.ping(docker, ["stuck", "well"])
