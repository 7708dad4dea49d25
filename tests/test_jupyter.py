"""What the service itself asks of a notebook: every answer is written by a stranger."""

import asyncio
import errno
import json
import os
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tmppool import input_wait
from tmppool import jupyter as jupyter_module
from tmppool.backends.fake import FakeBackend
from tmppool.errors import BackendError, StartError, UnaskedError
from tmppool.jupyter import JupyterClient, Knock
from tmppool.running import Dial, Running

KEY = "k" * 22
Handler = Callable[[web.Request], web.StreamResponse]


@pytest.fixture
async def jupyter(backend: FakeBackend) -> AsyncIterator[JupyterClient]:
    async with JupyterClient(await backend.start(KEY)) as made:
        yield made


@pytest.fixture
async def stranger() -> AsyncIterator["Stranger"]:
    made = Stranger()
    await made.open()
    yield made
    await made.close()


class Stranger:
    """A notebook that answers whatever a test wants."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.answer: object = web.Response
        self._stack: list[JupyterClient] = []

    async def open(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()

    def jupyter(self, *, is_jupyter: bool | None = True, knock: str | None = None) -> JupyterClient:
        dial = Dial("127.0.0.1", self._runner.addresses[0][1])
        self._stack.append(JupyterClient(Running(KEY, dial, "the-token", 0.0, is_jupyter=is_jupyter, knock=knock)))
        return self._stack[-1]

    async def close(self) -> None:
        for made in self._stack:
            await made.close()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.raw_path, await request.read()))
        made = self.answer(request)
        return await made if asyncio.iscoroutine(made) else made

    def says(self, body: object, status: int = 200) -> None:
        text = body if isinstance(body, (str, bytes)) else json.dumps(body)
        data = text.encode() if isinstance(text, str) else text
        self.answer = lambda _request: web.Response(status=status, body=data, content_type="application/json")


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def kernel(state: str, seconds: float) -> dict[str, object]:
    return {"execution_state": state, "last_activity": ago(seconds)}


# Readiness


async def test_a_notebook_that_runs_answers(jupyter: JupyterClient, backend: FakeBackend) -> None:
    assert await jupyter.answers()
    assert backend.notebooks[KEY].requests == [f"GET /user/{KEY}/api"]
    assert "Authorization" not in backend.notebooks[KEY].headers[0]


async def test_a_notebook_that_ended_does_not_answer(jupyter: JupyterClient, backend: FakeBackend) -> None:
    await backend.stop(KEY)
    assert not await jupyter.answers()


@pytest.mark.parametrize(
    ("status", "answers"), [(200, True), (302, True), (403, True), (401, True), (404, False), (503, False)]
)
async def test_what_counts_as_an_answer(stranger: Stranger, status: int, answers: bool) -> None:  # noqa: FBT001
    stranger.says({}, status)
    assert await stranger.jupyter().answers() is answers


@pytest.mark.parametrize(("status", "lives"), [(200, True), (302, True), (404, False), (503, False)])
async def test_what_counts_as_a_sign_of_life(stranger: Stranger, status: int, lives: bool) -> None:  # noqa: FBT001
    stranger.says({}, status)
    assert await stranger.jupyter().shows_life() is lives


async def test_one_that_takes_a_question_and_does_not_answer_it_in_time_may_be_alive(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jupyter_module, "_KNOCK_TIMEOUT", 0.05)

    async def silence(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    stranger.answer = silence
    made = stranger.jupyter()
    assert await made.shows_life()
    assert not await made.answers()


@pytest.mark.parametrize(
    ("before", "after", "lives"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", True),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z", False),
        (None, "2026-01-01T00:00:09Z", True),  # a server that does not say it
        ("2026-01-01T00:00:00Z", None, True),
    ],
)
async def test_another_server_at_the_same_address_is_no_sign_of_life(
    stranger: Stranger, before: str | None, after: str | None, *, lives: bool
) -> None:
    facts = {"version": "2", "last_activity": "2026-01-01T00:00:00Z"}
    made = stranger.jupyter(is_jupyter=None)
    stranger.says(facts | ({} if before is None else {"started": before}))
    await made.recognise()
    stranger.says(facts | ({} if after is None else {"started": after}))
    assert await made.shows_life() is lives
    stranger.says({}, 500)
    assert not await made.shows_life()


async def test_one_that_nobody_can_connect_to_shows_no_life(
    jupyter: JupyterClient, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backend.stop(KEY)
    assert not await jupyter.shows_life()

    async def never(*_about: object, **_more: object) -> None:
        raise aiohttp.ConnectionTimeoutError

    monkeypatch.setattr(jupyter.session, "_request", never)
    assert not await jupyter.shows_life()


async def test_who_has_no_socket_left_has_not_been_refused(backend: FakeBackend) -> None:
    running = await backend.start(KEY)
    numbers = [errno.EMFILE, errno.ECONNREFUSED]

    def fail() -> socket.socket:
        number = numbers.pop(0)
        raise OSError(number, os.strerror(number))

    async with JupyterClient(replace(running, dial=replace(running.dial, make_socket=fail))) as jupyter:
        assert await jupyter.knock() is Knock.UNASKED
        assert await jupyter.knock() is Knock.REFUSED
        numbers += [errno.EMFILE, errno.ENOBUFS, errno.ECONNREFUSED]
        assert [await jupyter.answers(), await jupyter.shows_life(), await jupyter.answers()] == [None, None, False]
    assert await jupyter.knock() is Knock.REFUSED  # as it is closed


async def test_what_is_no_http_is_no_answer() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\xff babble\r\n\r\n")
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with (
        server,
        JupyterClient(Running(KEY, Dial("127.0.0.1", server.sockets[0].getsockname()[1]), "", 0.0)) as made,
    ):
        assert not await made.answers()


@pytest.mark.parametrize(
    ("api", "base", "answers", "asked", "heard"),
    [
        (200, 500, True, ["api"], ""),
        (404, 200, True, ["api", ""], ""),
        (405, 302, True, ["api", ""], ""),
        (404, 401, True, ["api", ""], ""),
        (404, 404, False, ["api", ""], "its last answer was 404 to GET {base_path}"),
        (404, 502, False, ["api", ""], "its last answer was 502 to GET {base_path}"),
        (503, 200, False, ["api"], "its last answer was 503 to GET {base_path}api"),
    ],
)
async def test_a_server_without_jupyters_api_is_ready_when_it_answers_at_its_base_path(
    stranger: Stranger,
    api: int,
    base: int,
    answers: bool,  # noqa: FBT001
    asked: list[str],
    heard: str,
) -> None:
    stranger.answer = lambda request: web.Response(status=api if request.path.endswith("/api") else base)
    made = stranger.jupyter()
    assert await made.answers() is answers
    assert [path for _, path, _ in stranger.asked] == [f"/user/{KEY}/{path}" for path in asked]
    assert heard in made.heard
    assert KEY not in made.heard


async def test_an_image_may_name_what_to_knock_at(stranger: Stranger) -> None:
    stranger.answer = lambda request: web.Response(status=200 if request.path.endswith("/up/now") else 404)
    made = stranger.jupyter()
    made.running = replace(made.running, knock="up/now")
    assert await made.answers()
    assert [path for _, path, _ in stranger.asked] == [f"/user/{KEY}/up/now"]


async def test_one_that_takes_the_request_and_is_silent_is_told(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jupyter_module, "_KNOCK_TIMEOUT", 0.05)

    async def silence(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    stranger.answer = silence
    made = stranger.jupyter()
    assert not await made.answers()
    assert made.heard == "it took the request for {base_path}api and did not answer"


async def test_one_that_takes_the_connection_and_speaks_no_http_is_told_apart_from_one_that_does_not_listen() -> None:
    says = [b""]

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(says[0])
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    async with JupyterClient(Running(KEY, Dial(*address), "", 0.0)) as made:
        for says[0] in (b"", b"SSH-2.0-OpenSSH\r\n", b"\x15\x03\x01\x00\x02\x02\x0a"):  # the last: an alert of TLS
            made.heard = ""
            assert not await made.answers()
            assert made.heard == "it took the connection and gave no HTTP response"
            assert not await jupyter_module._speaks_tls(made.running.dial)
        server.close()
        await server.wait_closed()
        made.heard = ""
        assert not await made.answers()
        assert made.heard == ""


async def test_one_that_speaks_tls_never_becomes_ready(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    async with JupyterClient(Running(KEY, Dial("127.0.0.1", runner.addresses[0][1]), "", 0.0)) as made:
        with pytest.raises(StartError, match=r"speaks TLS, .* leave certfile and keyfile ") as caught:
            await made.wait_ready()
        assert not caught.value.transient
    await runner.cleanup()


@pytest.mark.parametrize(("status", "refuses"), [(200, False), (401, True), (403, True), (404, False), (500, False)])
async def test_whether_it_takes_our_token(stranger: Stranger, status: int, refuses: bool) -> None:  # noqa: FBT001
    stranger.says({}, status)
    assert await stranger.jupyter().refuses_token() is refuses


async def test_our_own_requests_bring_both_halves_of_a_double_submit(stranger: Stranger) -> None:
    """A Jupyter with an empty token asks for it (Tornado, ``check_xsrf_cookie``)."""
    seen = []

    def answer(request: web.Request) -> web.Response:
        seen.append((request.cookies["_xsrf"], request.headers["X-XSRFToken"]))
        return web.json_response({})

    stranger.answer = answer
    await stranger.jupyter().start_kernel("a.ipynb")
    assert len(seen) == 2
    assert all(cookie == field != "" for cookie, field in seen)


async def test_wait_ready_knocks_until_it_answers(stranger: Stranger) -> None:
    def warming(_request: web.Request) -> web.Response:
        return web.Response(status=200 if len(stranger.asked) == 3 else 503)

    stranger.answer = warming
    await stranger.jupyter().wait_ready()
    assert [path for _, path, _ in stranger.asked] == [f"/user/{KEY}/api"] * 3


# What it is

VERSION, STATUS = {"version": "2.17.0"}, {"last_activity": "2026-01-01T00:00:00Z", "kernels": 0}
ANSWERS: dict[str, tuple[tuple[int, object], tuple[int, object], bool | None]] = {
    "a Jupyter": ((200, VERSION), (200, STATUS), True),
    "a Jupyter that does not take our token": ((200, VERSION), (403, {}), True),
    "an app without such paths": ((404, {}), (404, {}), False),
    "an app that asks who is there": ((401, {}), (401, {}), False),
    "an app that does not know the method": ((405, {}), (405, {}), False),
    "an app that redirects": ((302, ""), (302, ""), False),
    "an app that shows its page everywhere": ((200, "<html>"), (200, "<html>"), False),
    "an app that says anything everywhere": ((200, {}), (200, {}), False),
    "an app with a version": ((200, VERSION), (404, {}), False),
    "an app with a version and a status": ((200, VERSION), (200, {"status": "ok"}), False),
    "an app with a list": ((200, [VERSION]), (200, []), False),
    "a gateway": ((200, VERSION | {"gateway_version": "3.0"}), (404, {}), False),
    "an app with a long page": ((200, "x" * 40_000), (200, "x" * 40_000), False),
    "a server in trouble": ((503, {}), (503, {}), None),
    "a Jupyter in trouble": ((200, VERSION), (500, {}), None),
}


@pytest.mark.parametrize(("version", "status", "is_one"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_how_a_jupyter_is_told_from_another_web_application(
    stranger: Stranger,
    version: tuple[int, object],
    status: tuple[int, object],
    is_one: bool | None,  # noqa: FBT001
) -> None:
    def answer(request: web.Request) -> web.Response:
        code, body = status if request.path.endswith("/status") else version
        return web.Response(status=code, text=body if isinstance(body, str) else json.dumps(body))

    stranger.answer = answer
    made = stranger.jupyter(is_jupyter=None)
    await made.recognise()
    assert made.is_jupyter is is_one
    asked = len(stranger.asked)
    await made.recognise()
    assert (len(stranger.asked) == asked) is (is_one is not None)


@pytest.mark.parametrize(("knock", "is_one"), [("healthz", False), (None, None)])
async def test_who_is_ready_by_its_own_word_and_fails_at_jupyters_is_another_application(
    stranger: Stranger,
    knock: str | None,
    is_one: bool | None,  # noqa: FBT001
) -> None:
    def answer(request: web.Request) -> web.Response:
        is_theirs = request.path.endswith("/healthz") or (knock is None and not request.path.endswith("/status"))
        return web.json_response({"version": "1"}, status=200 if is_theirs else 500)

    stranger.answer = answer
    made = stranger.jupyter(is_jupyter=None, knock=knock)
    await made.wait_ready()
    assert made.is_jupyter is is_one


async def test_one_that_does_not_answer_is_not_recognised(jupyter: JupyterClient, backend: FakeBackend) -> None:
    await backend.stop(KEY)
    jupyter.is_jupyter = None
    await jupyter.recognise()
    assert jupyter.is_jupyter is None
    await jupyter.close()
    await jupyter.recognise()
    assert jupyter.is_jupyter is None


async def test_one_that_is_ready_is_recognised(backend: FakeBackend) -> None:
    for backend.is_jupyter in (True, False):
        async with JupyterClient(replace(await backend.start(KEY), is_jupyter=None)) as made:
            await made.wait_ready()
            assert made.is_jupyter is backend.is_jupyter
        await backend.stop(KEY)


async def test_what_an_adopted_one_is_is_asked_again_until_it_answers(stranger: Stranger) -> None:
    stranger.says({}, 503)
    made = stranger.jupyter(is_jupyter=None)
    with pytest.raises(BackendError):
        await made.silent_for()
    stranger.says("<html>")
    assert await made.silent_for() is None
    assert made.is_jupyter is False


@pytest.mark.parametrize("status", [200, 401, 404, 500])
async def test_another_web_application_has_no_kernels_that_could_be_misread(stranger: Stranger, status: int) -> None:
    stranger.says("<html>", status)
    made = stranger.jupyter(is_jupyter=False)
    assert await made.silent_for() is None
    assert not await made.refuses_token()
    stranger.asked.clear()
    await made.start_kernel("a.ipynb")
    assert stranger.asked == []


async def test_a_server_that_is_no_jupyter_and_has_kernels_like_one_computes_with_them(
    jupyter: JupyterClient, backend: FakeBackend
) -> None:
    jupyter.is_jupyter = False
    backend.notebooks[KEY].kernels = [kernel("busy", 5)]
    assert await jupyter.silent_for() == 0.0


# Silence


@pytest.mark.parametrize(
    ("kernels", "terminals", "seconds"),
    [
        pytest.param([], [], None, id="nothing ever ran"),
        pytest.param([("busy", 500)], [], 0.0, id="a kernel computes"),
        pytest.param([("idle", 5)], [], None, id="a kernel that only had messages lately: any page may poll it"),
        pytest.param([("starting", 5)], [], None, id="a kernel that nobody uses"),
        pytest.param([("idle", 900), ("busy", 800)], [], 0.0, id="one busy among several"),
        pytest.param([], [("terminal", 300)], 300.0, id="a terminal printed"),
        pytest.param([], [("terminal", 900), ("terminal", 300)], 300.0, id="the latest of several"),
        pytest.param([("busy", 1)], [("terminal", 900)], 0.0, id="both"),
        pytest.param([], [("terminal", -500)], 0.0, id="a clock that is ahead"),
        pytest.param([], [{"name": "1"}], None, id="no time"),
        pytest.param([], [{"last_activity": "yesterday"}], None, id="no such time"),
        pytest.param([], [{"last_activity": ago(-86400)}], None, id="from before the clock was set back"),
        pytest.param([], [{"last_activity": None}], None, id="null for a time"),
        pytest.param([7, None, "x", []], [7, None, "x", [], ("terminal", 60)], 60.0, id="things that are neither"),
    ],
)
async def test_how_long_nothing_has_worked(
    jupyter: JupyterClient,
    backend: FakeBackend,
    kernels: list[object],
    terminals: list[object],
    seconds: float | None,
) -> None:
    made = [[kernel(*each) if isinstance(each, tuple) else each for each in found] for found in (kernels, terminals)]
    backend.notebooks[KEY].kernels, backend.notebooks[KEY].terminals = made
    silent = await jupyter.silent_for()
    assert silent == (None if seconds is None else pytest.approx(seconds, abs=30))


async def test_the_questions_carry_the_token_and_do_not_count_as_activity(
    jupyter: JupyterClient, backend: FakeBackend
) -> None:
    await jupyter.silent_for()
    assert backend.notebooks[KEY].requests == [
        f"GET /user/{KEY}/api/{name}?no_track_activity=1" for name in ("kernels", "terminals")
    ]
    assert {each["Authorization"] for each in backend.notebooks[KEY].headers} == {f"token token-of-{KEY}"}


@pytest.mark.parametrize(
    ("busy", "waiting", "silent"),
    [("ab", "a", 0.0), ("ab", "ab", None), ("", "a", None), ("a", "b", 0.0), ("a", "", 0.0)],
)
async def test_a_kernel_that_waits_for_input_does_not_compute(
    jupyter: JupyterClient,
    backend: FakeBackend,
    monkeypatch: pytest.MonkeyPatch,
    busy: str,
    waiting: str,
    silent: float | None,
) -> None:
    backend.notebooks[KEY].kernels = [{"id": each, "execution_state": "busy"} for each in busy]
    monkeypatch.setattr(input_wait, "waiting", lambda _pid: set(waiting))
    assert await jupyter.silent_for() == silent


@pytest.mark.parametrize("is_jupyter", [True, False, None])
async def test_one_that_this_machine_has_no_socket_to_ask_with_has_not_been_asked(
    backend: FakeBackend,
    is_jupyter: bool | None,  # noqa: FBT001 - a column of the table
) -> None:
    running = await backend.start(KEY)

    def fail() -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    dial = replace(running.dial, make_socket=fail)
    async with JupyterClient(replace(running, dial=dial, is_jupyter=is_jupyter)) as jupyter:
        with pytest.raises(UnaskedError, match=r"^the notebook was not asked: Too many open files$"):
            await jupyter.silent_for()


async def test_one_whose_processes_no_thread_could_look_at_has_not_been_asked(
    jupyter: JupyterClient, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.notebooks[KEY].kernels = [{"id": "a", "execution_state": "busy"}]

    def fail(_pid: int) -> set[str]:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(input_wait, "waiting", fail)
    with pytest.raises(UnaskedError, match="can't start new thread"):
        await jupyter.silent_for()


async def test_a_server_that_is_not_jupyters_has_neither_kernels_nor_terminals(stranger: Stranger) -> None:
    stranger.says("no such page", 404)
    assert await stranger.jupyter().silent_for() is None


GARBAGE = {
    "not JSON": "<html>",
    "nothing": "",
    "not UTF-8": b"\xff\xfe\xff",
    "an object": "{}",
    "null": "null",
    "a number too long to read": "[" + "9" * 5000 + "]",
    "nested too deeply": "[" * 200_000,
}


@pytest.mark.parametrize("text", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_is_no_usable_answer(stranger: Stranger, text: str | bytes) -> None:
    stranger.says(text)
    with pytest.raises(BackendError):
        await stranger.jupyter().silent_for()


@pytest.mark.parametrize("status", [301, 302, 401, 500])
async def test_a_refusal_or_a_redirect_is_no_usable_answer(stranger: Stranger, status: int) -> None:
    stranger.answer = lambda _request: web.Response(status=status, headers={"Location": "/elsewhere"})
    with pytest.raises(BackendError):
        await stranger.jupyter().silent_for()
    assert len(stranger.asked) == 1


async def test_a_reply_without_end_is_cut_off(stranger: Stranger) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 2**20)
            sent += 1

    stranger.answer = endless
    with pytest.raises(BackendError, match=r"^the notebook's response is longer than 32768 bytes$"):
        await stranger.jupyter().silent_for()
    assert sent < 64


@pytest.mark.parametrize(("size", "is_read"), [(32_768, True), (32_769, False)])
async def test_each_list_is_read_up_to_32_kilobytes(
    stranger: Stranger,
    size: int,
    is_read: bool,  # noqa: FBT001
) -> None:
    stranger.says("[]" + " " * (size - 2))
    if is_read:
        assert await stranger.jupyter().silent_for() is None
    else:
        with pytest.raises(BackendError, match="longer than 32768 bytes"):
            await stranger.jupyter().silent_for()


async def test_a_reply_comes_in_small_pieces_however_much_was_sent(stranger: Stranger) -> None:
    """What came in one piece is taken apart in one turn of the loop: chunks of one byte cost most."""

    async def fine(request: web.Request) -> web.StreamResponse:
        request.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n[\r\n" * 100_000)
        await asyncio.sleep(0.5)
        raise ConnectionResetError

    stranger.answer = fine
    made = stranger.jupyter()
    with made.running.dial.make_socket() as sock:
        usual = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    with jupyter_module._narrow(made.running.dial.make_socket()) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= min(usual, 2 * jupyter_module._RECEIVE_BUFFER)
    with pytest.raises(BackendError):
        await made.silent_for()


async def test_a_reply_that_never_comes_is_given_up(stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jupyter_module, "_ASK_TIMEOUT", 0.01)

    async def silence(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    stranger.answer = silence
    with pytest.raises(BackendError, match="response is unusable: TimeoutError"):
        await stranger.jupyter().silent_for()


async def test_a_bomb_is_not_unpacked(stranger: Stranger) -> None:
    def packed(_request: web.Request) -> web.Response:
        response = web.Response(body=b" " * 2**20)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    stranger.answer = packed
    made = stranger.jupyter()
    async with made.session.get(made.origin, headers={"Accept-Encoding": "gzip"}) as reply:
        assert reply.headers["Content-Encoding"] == "gzip"
        assert len(await reply.read()) < 10_000


# Starting a kernel


def contents(stranger: Stranger, found: object) -> None:
    def answer(request: web.Request) -> web.Response:
        return web.json_response(found if request.method == "GET" else {"id": "1"})

    stranger.answer = answer


async def test_the_kernel_that_the_document_names_is_started(stranger: Stranger) -> None:
    contents(stranger, {"content": {"metadata": {"kernelspec": {"name": "ir"}}}})

    await stranger.jupyter().start_kernel("talks/day one/näher.ipynb")

    look, start = stranger.asked
    path = "talks/day%20one/n%C3%A4her.ipynb"
    assert look == ("GET", f"/user/{KEY}/api/contents/{path}?type=notebook&content=1", b"")
    assert start[:2] == ("POST", f"/user/{KEY}/api/sessions")
    assert json.loads(start[2]) == {
        "path": "talks/day one/näher.ipynb",
        "name": "näher.ipynb",
        "type": "notebook",
        "kernel": {"name": "ir"},
    }


NO_KERNEL = [
    {},
    [],
    None,
    7,
    {"content": {}},
    {"content": None},
    {"content": []},
    {"content": {"metadata": None}},
    {"content": {"metadata": {"kernelspec": None}}},
    {"content": {"metadata": {"kernelspec": "ir"}}},
]


@pytest.mark.parametrize("found", NO_KERNEL, ids=json.dumps)
async def test_a_document_that_names_no_kernel_gets_the_default_one(stranger: Stranger, found: object) -> None:
    contents(stranger, found)
    await stranger.jupyter().start_kernel("a.ipynb")
    assert json.loads(stranger.asked[1][2])["kernel"] == {"name": None}


async def test_a_document_that_cannot_be_read_gets_the_default_kernel(stranger: Stranger) -> None:
    stranger.answer = lambda request: web.json_response({}, status=404 if request.method == "GET" else 201)
    await stranger.jupyter().start_kernel("a.ipynb")
    assert json.loads(stranger.asked[1][2])["kernel"] == {"name": None}


async def test_the_kernel_of_a_document_that_is_too_long_to_look_at_is_left_to_its_page(stranger: Stranger) -> None:
    """Another kernel than its own would be used by the page that finds it."""
    contents(stranger, {"content": {"cells": "x" * 2**20, "metadata": {"kernelspec": {"name": "ir"}}}})
    with pytest.raises(BackendError, match="longer than 1048576 bytes"):
        await stranger.jupyter().start_kernel("a.ipynb")
    assert [method for method, _, _ in stranger.asked] == ["GET"]


async def test_a_notebook_that_refuses_to_start_a_kernel_is_told(stranger: Stranger) -> None:
    stranger.says({}, 403)
    with pytest.raises(BackendError, match=r"answered 403 to POST api/sessions$"):
        await stranger.jupyter().start_kernel("a.ipynb")


# Apart from each other


async def test_two_clients_never_share_a_cookie_or_a_connection(backend: FakeBackend) -> None:
    seen: list[tuple[int, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.transport.get_extra_info("peername")[1], request.headers.get("Cookie")))
        response = web.Response()
        response.set_cookie("stranger", "was-here")
        return response

    app = web.Application()
    app.router.add_get("/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    dial = Dial("127.0.0.1", runner.addresses[0][1])
    async with (
        JupyterClient(Running("a" * 22, dial, "", 0.0)) as one,
        JupyterClient(Running("b" * 22, dial, "", 0.0)) as other,
    ):
        for made in (one, other, one, other):
            async with made.session.get(made.origin) as reply:
                assert reply.headers["Set-Cookie"].startswith("stranger=was-here")
    await runner.cleanup()

    ports, cookies = zip(*seen, strict=True)
    assert cookies == (None, None, None, None)
    assert len(set(ports)) == 4  # nor does one keep any: what comes on it unasked would be kept


async def test_no_header_is_added_to_what_a_visitor_sent(jupyter: JupyterClient, backend: FakeBackend) -> None:
    async with jupyter.session.get(f"{jupyter.origin}{jupyter.running.base_path}tree", headers={"X-A": "1"}):
        pass
    assert set(backend.notebooks[KEY].headers[0]) == {"Host", "X-A", "Connection"}


async def test_the_environment_proxies_are_not_used(jupyter: JupyterClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert await jupyter.answers()


async def test_a_closed_client_has_no_connections_left(backend: FakeBackend) -> None:
    made = JupyterClient(await backend.start(KEY))
    assert await made.answers()
    await made.close()
    assert made.session.closed
    with pytest.raises(RuntimeError):
        await made.session.get(made.origin)


async def test_a_login_returns_the_cookies_as_they_were_sent(stranger: Stranger) -> None:
    def answer(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "token the-token"
        assert request.host == "nb.example:8"
        return web.Response(status=403, headers=[("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2")])

    stranger.answer = answer
    assert await stranger.jupyter().log_in("nb.example:8") == ["a=1; Path=/", "b=2"]
    assert stranger.asked == [("GET", f"/user/{KEY}/api/status", b"")]


async def test_a_login_without_an_answer_is_an_error(stranger: Stranger) -> None:
    jupyter = stranger.jupyter()
    await stranger._runner.cleanup()
    with pytest.raises(BackendError):
        await jupyter.log_in("h")
