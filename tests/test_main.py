"""The command line: exit codes, help, and one sentence for a mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tmppool import __version__
from tmppool.__main__ import main
from tmppool.config import RETIRED, Settings
from tmppool.errors import BackendError, ConfigError, EngineAwayError, ImageError, StartError, TmppoolError

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TMPPOOL_"):
            monkeypatch.delenv(name)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """As an operator does it."""
    return subprocess.run(
        [sys.executable, "-m", "tmppool", *words], cwd=ROOT, capture_output=True, text=True, timeout=15, check=False
    )


@pytest.mark.parametrize("words", [["audit"], ["audit", "--json"]])
def test_an_audit_whose_reader_has_enough_ends_quietly(words: list[str]) -> None:
    """As `tmppool audit | head -1` does, once the pipe is closed."""
    there, here = os.pipe()
    os.close(there)
    environ = {**os.environ, "DOCKER_HOST": "unix:///nowhere/at.all"}
    with os.fdopen(here, "wb") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "tmppool", *words],
            cwd=ROOT, env=environ, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=15, check=False,
        )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_variable_without_effect_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPPOOL_HOME", "/srv")
    monkeypatch.setenv("TMPPOOL_DOCKER_NETWORK", "bridge")
    monkeypatch.setenv("TMPPOOL_PORT_8000_TCP_PORT", "8000")
    ended = run("--admin-ip=0.0.0.0", "--backend=fake")
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[:2] == [
        "tmppool: the variable TMPPOOL_HOME is not a setting and has no effect; --help-all lists them",
        f"tmppool: the variable for --docker-network has no effect any more: {RETIRED['docker-network']}",
    ]


MISTAKES = [
    (["--bogus"], "--bogus is not an option"),
    (["serve", "--bogus"], "--bogus is not an option"),
    (["dance"], "'dance' is not a command; the commands are serve, audit, build-image, check-links"),
    (["--port=0"], "--port: '0' is not allowed"),
    (["--port"], "--port: expected one argument"),
    (["serve", "stray"], "'stray' is unexpected"),
    (["--mem-limit=1x"], "--mem-limit: '1x' is not allowed"),
    (["--config=/nowhere/at.all"], "--config: /nowhere/at.all cannot be read"),
    (["audit", "--bogus"], "--bogus is not an option"),
    (["audit", "--mem-limit=1x", "--json"], "--mem-limit: '1x' is not allowed"),
    (["audit", "--backend=fake"], "--backend: 'fake' cannot be audited"),
    (
        ["audit", "--accept-risk=reach-gatway"],
        "--accept-risk: 'reach-gatway' is not a start-up probe; did you mean reach-g",
    ),
    (["build-image"], "the following arguments are required: NAME"),
    (["build-image", "debian", "--bogus"], "unrecognized arguments: --bogus"),
    (["build-image", "debian", "--build-arg=WITH_R"], "--build-arg: 'WITH_R' is not NAME=VALUE"),
]


@pytest.mark.parametrize(("words", "sentence"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_ends_with_2_and_one_line(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("tmppool: ")
    assert sentence in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--backend=process", "--ip=0.0.0.0"], "--ip: '0.0.0.0' is not allowed: notebooks here are processes"),
        (["--backend=fake", "--admin-ip=0.0.0.0"], "--admin-ip: '0.0.0.0' is not allowed without a token"),
    ],
)
def test_a_start_that_would_be_unsafe_ends_with_2_and_one_line(words: list[str], sentence: str, tmp_path: Path) -> None:
    found = run(*words, f"--state-dir={tmp_path}")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.count("\n") == 1
    assert found.stderr.startswith(f"tmppool: {sentence}")


def test_an_engine_that_does_not_come_ends_with_69_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wait_in_vain(_settings: Settings) -> int:
        raise EngineAwayError("no Docker Engine answered within 60 s")

    monkeypatch.setattr("tmppool.app.run", wait_in_vain)
    assert main(["--backend=docker"]) == 69
    assert capsys.readouterr() == ("", "tmppool: no Docker Engine answered within 60 s\n")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BackendError("the engine did not answer"), 69),
        (StartError("it exited"), 69),
        (BackendError("--runtime: refused", transient=False), 2),
        (ImageError("image x is not on the engine"), 2),
        (ConfigError("--port: taken"), 2),
    ],
)
def test_the_status_says_whose_fault_it_is(
    error: TmppoolError, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_settings: object) -> int:
        raise error

    monkeypatch.setattr("tmppool.app.run", fail)
    assert main(["--backend=docker"]) == status
    assert capsys.readouterr().err == f"tmppool: {error}\n"


def test_an_empty_admin_token_does_not_open_the_admin_listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_AUTH_TOKEN", "")
    found = run("--backend=fake", "--admin-ip=0.0.0.0", "--port=1", f"--state-dir={tmp_path}/nowhere")
    assert found.returncode == 2
    assert found.stderr.startswith("tmppool: --admin-ip: '0.0.0.0' is not allowed without a token")


def test_a_mistake_ends_the_process_with_2_one_line_and_no_traceback() -> None:
    found = run("--mem-limit=1x")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == (
        "tmppool: --mem-limit: '1x' is not allowed:"
        " a size is a whole number followed by b, k, m or g, as in 512m or 1g\n"
    )


def test_a_bad_variable_ends_the_process_with_2_one_line_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPPOOL_TRUSTED_PROXIES", "10.0.0.0/8,nonsense")
    found = run()
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.count("\n") == 1
    assert "--trusted-proxies" in found.stderr


def test_an_image_that_nobody_can_build_ends_with_1_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build-image", "nonsense"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tmppool: unknown image 'nonsense'")
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["serve", "--help"], ["--port=8001", "--help"]])
def test_help_fits_on_a_screen(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert 10 < len(lines) <= 40
    assert max(map(len, lines)) <= 120
    assert "--help-all" in lines[-1]


def test_the_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert capsys.readouterr().out.startswith(
        "usage: tmppool [serve | audit | build-image | check-links] [--OPTION=VALUE ...]\n"
    )


def test_the_audits_help_tells_its_own_option_and_exit_statuses_before_the_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["audit", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    usage, _, options = text.partition("options:")
    assert usage.startswith("usage: tmppool audit [--json]")
    assert [status for status in ("0: nothing serious", "3: findings", "2: a bad option") if status not in usage] == []
    assert options.lstrip().startswith("--json ")
    assert "  --mem-limit VALUE" in options
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--json" not in capsys.readouterr().out


def test_help_all_lists_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help-all"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    by_flag = set(Settings.model_fields) - {"pools", "repositories", "api_auth_token", "admin_auth_token", "allow_root"}
    assert "\n  --allow-root [VALUE]" in text
    assert [name for name in by_flag if f"\n  --{name.replace('_', '-')} VALUE" not in text] == []
    assert "[10]" in text
    assert "[tmppool/debian:latest]" in text
    assert [name for name in RETIRED if f"--{name} " in text] == []


def test_a_setting_that_is_common_stands_in_the_short_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(f"  --{name} VALUE" in text for name in ("image", "pool-size", "port", "mem-limit", "on-exit"))
    assert "--allow-origin" not in text


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"tmppool {__version__}\n"


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_settings: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("tmppool.app.run", interrupted)
    assert main([]) == 130


def test_without_a_command_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("tmppool.app.run", lambda settings: seen.append(settings.port) or 0)
    assert main(["--port=8001"]) == 0
    assert main(["serve", "--port=8002"]) == 0
    assert seen == [8001, 8002]


@pytest.fixture
def without_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")


def test_an_audit_without_an_engine_says_so_and_passes_nothing_that_needs_one(without_engine: None) -> None:
    found = run("audit", "--json")
    assert found.returncode == 3
    told = json.loads(found.stdout)
    assert told["version"] == __version__
    status = {check["id"]: check["status"] for check in told["checks"]}
    assert status["engine-answers"] == "fail"
    assert status["not-root"] == status["cis-5.5-privileged"] == status["seccomp"] == status["pids-sum"] == "unknown"
    assert told["summary"]["healthy"] is False


def test_an_audit_without_an_engine_reads_well(without_engine: None) -> None:
    found = run("audit")
    assert (found.returncode, found.stderr) == (3, "")
    assert "no Docker Engine answers" in " ".join(found.stdout.split())
    assert "serious finding" in found.stdout.splitlines()[-1]
