"""Containers or processes: which a start serves, and what processes never stand in for."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.notebooks import notebook_of
from tests.specs import spec_of
from tmppool import backend_choice
from tmppool.backends.base import Paths
from tmppool.backends.process import ProcessBackend
from tmppool.config import Settings
from tmppool.errors import ConfigError, EngineAwayError, TmppoolError
from tmppool.ledger import Ledger
from tmppool.notebook import Reason, State, Transition

AWAY = "the engine at nowhere did not answer"
WITNESS = Path(__file__).parent / "acceptance" / "witness.py"

FOR_OTHERS = {
    "--trusted-proxies=127.0.0.1": {"trusted_proxies": "127.0.0.1"},
    "--trusted-proxies=10.0.0.0/8,::1": {"trusted_proxies": "10.0.0.0/8,::1"},
    "--public-url=https://nb.example": {"public_url": "https://nb.example/"},
    "--public-url=http://localhost:8000": {"public_url": "http://localhost:8000"},
    "--domain-per-notebook=nb.example": {"domain_per_notebook": "nb.example"},
    "--domain-per-notebook=localhost.example:8000": {"domain_per_notebook": "localhost.example:8000"},
    "--domain-per-notebook=nolocalhost": {"domain_per_notebook": "nolocalhost"},
    "--domain-per-notebook=nb.localhost": {"domain_per_notebook": "nb.localhost"},
    "--domain-per-notebook=localhost:8001": {"domain_per_notebook": "localhost:8001"},
    "--ip=0.0.0.0": {"ip": "0.0.0.0"},
    "--ip=::": {"ip": "::"},
    "--ip=192.0.2.1": {"ip": "192.0.2.1"},
    "--ip=": {"ip": ""},
    "--admin-ip=0.0.0.0": {"admin_ip": "0.0.0.0", "admin_auth_token": "t" * 16},
}
FOR_ONESELF = [
    {},
    {"ip": "127.0.0.1"},
    {"ip": "::1"},
]
OWN_DOMAINS = ["nb.localhost:8000", "localhost:8000"]


def given(**more: object) -> Settings:
    return Settings(**more)  # type: ignore[arg-type]


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda number: monkeypatch.setattr(os, "geteuid", lambda: number)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How the engine answers, one look after the other, the last one for ever: an empty text is well."""
    answers = [AWAY]

    async def failure() -> str:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    monkeypatch.setattr("tmppool.backends.engine.failure", failure)
    monkeypatch.setattr(backend_choice, "PATIENCE", 0.3)
    monkeypatch.setattr(backend_choice, "_LOOK", 0.01)
    monkeypatch.setattr(backend_choice, "_SAY", 0.1)
    return answers


# Why processes may not stand in


@pytest.mark.parametrize("why", FOR_OTHERS)
def test_what_is_for_others_is_no_place_for_processes(why: str) -> None:
    settings = given(**FOR_OTHERS[why])
    assert backend_choice.obstacle(settings, "process", 0) == why
    with pytest.raises(ConfigError) as caught:
        backend_choice.check(given(**FOR_OTHERS[why], backend="process", allow_root=True))
    option, _, value = why.partition("=")
    assert str(caught.value).startswith(f"{option}: {value!r} is not allowed: notebooks here are processes")


@pytest.mark.parametrize("settings", FOR_ONESELF)
def test_what_is_for_oneself_may_be_processes(settings: dict[str, object]) -> None:
    assert backend_choice.obstacle(given(**settings), "docker", 0) is None
    backend_choice.check(given(**settings, backend="process", allow_root=True))


@pytest.mark.parametrize("domain", OWN_DOMAINS)
def test_with_a_domain_of_this_machines_processes_are_served_only_where_they_are_asked_for(domain: str) -> None:
    backend_choice.check(given(domain_per_notebook=domain, backend="process", allow_root=True))
    assert backend_choice.obstacle(given(domain_per_notebook=domain), "docker", 0) == f"--domain-per-notebook={domain}"


@pytest.mark.parametrize(
    ("kind", "sessions", "why"),
    [
        ("docker", 1, "1 session in containers according to the ledger"),
        ("docker", 3, "3 sessions in containers according to the ledger"),
        ("docker", 0, None),
        ("process", 3, None),
        ("fake", 3, None),
    ],
)
def test_sessions_in_containers_wait_for_their_engine(kind: str, sessions: int, why: str | None) -> None:
    assert backend_choice.obstacle(given(), kind, sessions) == why


@pytest.mark.parametrize(("token", "is_refused"), [("t" * 15, True), ("t" * 16, False)])
def test_a_short_token_does_not_guard_processes(token: str, is_refused: bool) -> None:  # noqa: FBT001
    settings = given(backend="process", allow_root=True, api_auth_token=token)
    if is_refused:
        with pytest.raises(ConfigError, match=r"^API_AUTH_TOKEN: it has fewer than 16 characters"):
            backend_choice.check(settings)
    else:
        backend_choice.check(settings)


def test_who_asks_for_containers_gets_no_processes() -> None:
    assert backend_choice.obstacle(given(backend="docker"), "process", 0) == "--backend=docker"


# Root


@pytest.mark.parametrize(
    ("number", "is_allowed", "is_refused"), [(0, False, True), (0, True, False), (1000, False, False)]
)
async def test_root_has_to_say_that_notebooks_may_be_roots(
    user: Callable[[int], None],
    engine: list[str],
    tmp_path: Path,
    number: int,
    is_allowed: bool,  # noqa: FBT001
    is_refused: bool,  # noqa: FBT001
) -> None:
    user(number)
    said = []
    with capture_logs():
        try:
            backend_choice.check(given(backend="process", allow_root=is_allowed))
            assert await backend_choice.backend_kind(given(allow_root=is_allowed), tmp_path / "none") == "process"
        except ConfigError as error:
            said.append(str(error))
        if is_refused:
            with pytest.raises(ConfigError) as caught:
                await backend_choice.backend_kind(given(), tmp_path / "none")
            said.append(str(caught.value))
    out = "notebooks would run as root without isolation: start a Docker Engine, run this as another user, or set --allow-root"  # fmt: skip
    wanted = [f"--backend=process is set, so {out}", f"no Docker Engine answers ({AWAY}), so {out}"]
    assert said == (wanted if is_refused else [])


@pytest.mark.parametrize("backend", ["docker", "fake"])
def test_root_serves_containers_unasked(user: Callable[[int], None], backend: str) -> None:
    user(0)
    backend_choice.check(given(backend=backend))


def test_what_containers_would_refuse_is_said_before_an_engine_is_asked() -> None:
    for backend in ("docker", "auto"):
        with pytest.raises(ConfigError, match=r"^--container-uids"):
            backend_choice.check(given(backend=backend, container_uids="5-5"))
    backend_choice.check(given(backend="process", container_uids="5-5", allow_root=True))


# The engine that is away


async def test_an_engine_that_answers_serves_containers(engine: list[str], tmp_path: Path) -> None:
    engine[:] = [""]
    for backend in ("auto", "docker"):
        assert await backend_choice.backend_kind(given(backend=backend), tmp_path / "none") == "docker"


@pytest.mark.parametrize("backend", ["process", "fake"])
async def test_who_needs_no_engine_asks_none(engine: list[str], tmp_path: Path, backend: str) -> None:
    engine[:] = ["first", "last"]
    assert await backend_choice.backend_kind(given(backend=backend), tmp_path / "none") == backend
    assert engine == ["first", "last"]


async def test_for_oneself_processes_stand_in_at_once_and_it_is_said(engine: list[str], tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert await backend_choice.backend_kind(given(allow_root=True), tmp_path / "none") == "process"
    assert [(line["event"], line["log_level"], line["error"]) for line in logs] == [
        ("backend.fell_back", "warning", AWAY)
    ]


@pytest.mark.parametrize("settings", [{"backend": "docker"}, {"public_url": "https://nb.example"}])
async def test_an_engine_that_comes_late_serves_containers(
    engine: list[str], tmp_path: Path, settings: dict[str, object]
) -> None:
    engine[:] = [*[AWAY] * 5, ""]
    with capture_logs() as logs:
        assert await backend_choice.backend_kind(given(**settings), tmp_path / "none") == "docker"
    assert [line["event"] for line in logs] == ["engine.awaited", "engine.answered"]
    assert logs[0]["error"] == AWAY


async def test_an_engine_that_does_not_come_ends_the_start_with_one_sentence(engine: list[str], tmp_path: Path) -> None:
    began = time.monotonic()
    with capture_logs() as logs, pytest.raises(EngineAwayError) as caught:
        await backend_choice.backend_kind(given(public_url="https://nb.example"), tmp_path / "none")
    assert 0.3 <= time.monotonic() - began < 3
    sentence = str(caught.value)
    assert sentence.startswith(f"no Docker Engine answered within 0 s: {AWAY}; start it or set DOCKER_HOST")
    assert "(--public-url=https://nb.example)" in sentence
    assert "\n" not in sentence
    lines = [(line["event"], line["log_level"], line["why"], line["error"]) for line in logs]
    assert 2 <= len(lines) <= 4
    assert set(lines) == {("engine.awaited", "warning", "--public-url=https://nb.example", AWAY)}


def test_an_engine_that_is_away_is_no_mistake_in_the_options() -> None:
    assert issubclass(EngineAwayError, TmppoolError)
    assert not issubclass(EngineAwayError, ConfigError)


async def test_a_session_in_a_container_is_waited_for_with_the_ledger_of_its_service(
    engine: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "ledger.sqlite"
    for kind, is_waiting in (("docker", True), ("process", False)):
        ledger = await Ledger.open(path)
        notebook = notebook_of("k" * 22, "tmppool", 0.0)
        ledger.hear(Transition(notebook, State.WARM, State.ASSIGNED, Reason.CLICK, 0.0, 0.0))
        await ledger.note_backend(kind)
        await ledger.close()
        with capture_logs():
            if is_waiting:
                with pytest.raises(EngineAwayError, match="1 session in containers"):
                    await backend_choice.backend_kind(given(allow_root=True), path)
            else:
                assert await backend_choice.backend_kind(given(allow_root=True), path) == "process"


# What an earlier service left running


async def test_where_an_engine_answers_processes_that_were_left_are_ended(tmp_path: Path) -> None:
    command = f"exec {sys.executable} {WITNESS} {{base_path}} {{port}}"
    backend = ProcessBackend(spec_of(service="", pool="main", command=command), Paths(tmp_path))
    await backend.open()
    child = None
    try:
        await backend.start("k" * 22, backend.edition)
        (child,) = backend._children.values()
        await backend.close()
        with capture_logs() as logs:
            await backend_choice.end_processes(tmp_path)
        assert await asyncio.wait_for(child.wait(), 10) == -signal.SIGKILL
        assert list((tmp_path / "notebooks" / "main").iterdir()) == []
        assert [(line["event"], line["pool"], line["count"]) for line in logs] == [("processes.stopped", "main", 1)]
    finally:
        await backend.stop("k" * 22)


async def test_where_nothing_was_left_nothing_is_said(tmp_path: Path) -> None:
    with capture_logs() as logs:
        await backend_choice.end_processes(tmp_path)
    assert logs == []
