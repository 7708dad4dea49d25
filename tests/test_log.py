"""What is logged, in which form, and what never is."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from structlog.testing import capture_logs

from tests.notebooks import notebook_of
from tmppool import incidents, log
from tmppool.incidents import Incident
from tmppool.notebook import Reason, State

ROOT = Path(__file__).parent.parent
KEY = "Zk3-_x9QmT0aB7cD1eF2gH"


def scrubbed(value: object) -> object:
    return log.scrub(None, "info", {"event": value})["event"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (f"GET /user/{KEY}/lab?reset", "GET /user/***/lab?reset"),
        (f"GET /user/{KEY}", "GET /user/***"),
        (f"GET /user/eu-1.{KEY}/lab and /session/eu-1.{KEY}", "GET /user/***/lab and /session/***"),
        (f"GET /user/{'k' * 200}/lab", "GET /user/***/lab"),
        (
            f"http://127.0.0.1:8888/user/{KEY}/tree and /user/{KEY}/lab",
            "http://127.0.0.1:8888/user/***/tree and /user/***/lab",
        ),
        (f"DELETE /api/session/{KEY}/extend", "DELETE /api/session/***/extend"),
        (f"/lab?token={KEY}&reset", "/lab?token=***&reset"),
        (f"?code={KEY}", "?code=***"),
        (f"ticket={KEY}", "ticket=***"),
        (f"Authorization: token {KEY}", "Authorization: token ***"),
        (f"{{'Authorization': 'token {KEY}'}}", "{'Authorization': 'token ***'}"),
        (f"GET /session/{KEY}?path=lab", "GET /session/***?path=lab"),
        (f"Authorization: Bearer {KEY}", "Authorization: Bearer ***"),
        (f"Cookie: a=b; tmppool-0a1b2c3d4e={KEY}; c=d", "Cookie: a=b; tmppool-0a1b2c3d4e=***; c=d"),
        (f"Set-Cookie: __Host-tmppool-0a1b2c3d4e={KEY}; Path=/", "Set-Cookie: __Host-tmppool-0a1b2c3d4e=***; Path=/"),
        (f"Cookie: tmppool={KEY}", "Cookie: tmppool=***"),
        ("GET /user/ and /user/short", "GET /user/ and /user/short"),
        ("the token is set", "the token is set"),
        ("GET /lab/tree/talk.ipynb", "GET /lab/tree/talk.ipynb"),
    ],
)
def test_keys_and_tokens_are_masked(said: str, kept: str) -> None:
    assert scrubbed(said) == kept


def test_they_are_masked_in_lists_too() -> None:
    assert scrubbed([f"/user/{KEY}/lab", 7]) == ["/user/***/lab", 7]


def test_what_is_no_text_is_left_alone() -> None:
    event = {"event": "x", "count": 3, "ratio": 0.5, "none": None}
    assert log.scrub(None, "info", dict(event)) == event


# Floods


def said_in(
    limit: log.FloodLimit, times: int, event: object = "request.failed", level: int = logging.ERROR
) -> list[str]:
    """What is logged of so many lines of one event."""
    passed = []
    for _ in range(times):
        said = {"event": event} if isinstance(event, str) else event
        message = said if isinstance(said, dict) else "%s failed"
        arguments = () if isinstance(said, dict) else ("it",)
        record = logging.LogRecord("tmppool.web", level, "", 0, message, arguments, None)  # type: ignore[arg-type]
        if limit.filter(record):
            passed.append(record.getMessage())
    return passed


def test_an_event_that_visitors_cause_at_will_has_so_many_lines_a_minute_and_then_says_how_many_are_missing() -> None:
    now = [0.0]
    limit = log.FloodLimit(lambda: now[0])
    assert len(said_in(limit, 1000)) == 60
    assert len(said_in(limit, 1, "task.failed")) == 1
    now[0] = 60.0
    assert "'unlogged': 940" in said_in(limit, 1)[0]
    assert "unlogged" not in said_in(limit, 1)[0]


def test_the_lines_of_a_library_are_limited_whatever_they_say() -> None:
    now = [0.0]
    limit = log.FloodLimit(lambda: now[0])
    assert len(said_in(limit, 100, None)) == 60
    now[0] = 61.0
    assert said_in(limit, 1, None) == ["it failed (unlogged: 40)"]


def test_neither_news_nor_the_states_of_notebooks_are_limited() -> None:
    limit = log.FloodLimit(lambda: 0.0)
    assert len(said_in(limit, 500, level=logging.INFO)) == 500
    assert len(said_in(limit, 500, "notebook.gone", logging.WARNING)) == 500


def test_the_service_logs_no_flood() -> None:
    flood = "import structlog; from tmppool import log; log.configure(level='info', json=True); l = structlog.get_logger('x')\n"
    flood += "for _ in range(500): l.warning('request.failed')"
    made = subprocess.run([sys.executable, "-c", flood], capture_output=True, text=True, check=True, cwd=ROOT)
    assert len(made.stderr.splitlines()) == 60


# A log that stands still

MANY = """
import logging, signal, structlog, sys, time
from tmppool import log
signal.alarm(30)
log._MOST_WAITING = 100
log.configure(level="info", json=True)
for number in range(5000):
    structlog.get_logger("x").info("line", number=number, fill="x" * 100)
print("done", flush=True)
"""
READ = """
sys.stdin.readline()
while logging.getLogger().handlers[0].queue.full():
    time.sleep(0.01)
structlog.get_logger("x").info("last")
"""


def started(program: str) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", program], text=True, cwd=ROOT, **pipes)


def test_nobody_waits_for_a_log_that_stands_still_and_what_is_missing_is_counted() -> None:
    with started(MANY + READ) as logging_process:
        assert logging_process.stdout is not None
        assert logging_process.stdout.readline() == "done\n", "its lines fill a pipe that nobody reads"
        _, said = logging_process.communicate("go on\n")
    lines = [json.loads(line) for line in said.splitlines()]
    assert lines[-1]["event"] == "last"
    expected = 0
    for line in lines:
        expected += line.get("unlogged", 0)
        assert line.get("number", 5000) == expected
        expected += 1
    assert lines[-1]["unlogged"] > 0


def test_a_process_ends_though_its_log_stands_still() -> None:
    with started(MANY) as logging_process:
        assert logging_process.wait(25) == 0


@pytest.mark.parametrize("error", [OSError, UnicodeError, MemoryError])
def test_a_line_that_cannot_be_written_is_the_only_one_that_is_lost(error: type[Exception]) -> None:
    class Failing(io.StringIO):
        def write(self, text: str) -> int:
            if text == "second\n":
                raise error
            return super().write(text)

    stream = Failing()
    spool = log.Spool(stream)
    for line in ("first", "second", "third"):
        spool.handle(logging.makeLogRecord({"msg": line}))
    spool.flush()
    spool.close()
    assert stream.getvalue() == "first\nthird\n"


# Transitions


def moved(to: State, reason: Reason, was: State = State.ASSIGNED) -> dict[str, object]:
    notebook = notebook_of(KEY, "main", 100.0)
    notebook.state, notebook.moved_at = was, 100.0
    with capture_logs() as logs:
        log.hear(notebook.move(to, reason, 112.506))
    (line,) = logs
    assert line.pop("notebook") == notebook.id
    return line


@pytest.mark.parametrize(
    ("was", "to", "reason", "event", "level"),
    [
        (State.STARTING, State.WARM, Reason.READY, "notebook.warm", "info"),
        (State.WARM, State.ASSIGNED, Reason.CLICK, "notebook.assigned", "info"),
        (State.ASSIGNED, State.REAPING, Reason.IDLE, "notebook.reaping", "info"),
        (State.ASSIGNED, State.REAPING, Reason.DIED, "notebook.reaping", "warning"),
        (State.REAPING, State.GONE, Reason.IDLE, "notebook.gone", "info"),
    ],
)
def test_each_transition_is_one_line_with_its_reason(
    was: State, to: State, reason: Reason, event: str, level: str
) -> None:
    assert moved(to, reason, was) == {
        "event": event,
        "log_level": level,
        "pool": "main",
        "reason": reason.value,
        "after": 12.51,
    }


def test_the_key_is_not_in_the_line() -> None:
    assert KEY not in str(moved(State.REAPING, Reason.IDLE))


# Incidents

CAUSE = ZeroDivisionError("a bug")


@pytest.mark.parametrize(
    ("incident", "line"),
    [
        (
            incidents.StartFailed("main", "it broke", True, ("last", "words"), 1.5),
            {
                "event": "start.failed",
                "error": "it broke",
                "transient": True,
                "log_tail": ("last", "words"),
                "next_try_in": 1.5,
            },
        ),
        (incidents.StartCrashed("main", CAUSE), {"event": "start.crashed", "exc_info": CAUSE}),
        (incidents.WatchFailed("main", CAUSE), {"event": "watch.failed", "exc_info": CAUSE}),
        (
            incidents.ListenerFailed("main", "0a1b", "warm", CAUSE),
            {"event": "listener.failed", "notebook": "0a1b", "to": "warm", "exc_info": CAUSE},
        ),
        (
            incidents.StopFailed("main", "0a1b", "it broke"),
            {"event": "stop.failed", "notebook": "0a1b", "error": "it broke"},
        ),
        (
            incidents.DeathDisproved("main", "0a1b"),
            {"event": "death.disproved", "notebook": "0a1b", "message": "it answers"},
        ),
        (incidents.BackendRecovered("main"), {"event": "backend.recovered"}),
    ],
)
def test_an_incident_is_one_line_with_its_fields(incident: Incident, line: dict[str, object]) -> None:
    with capture_logs() as logs:
        log.hear_incident(incident)
    level = log.INCIDENTS[type(incident)][1]
    assert logs == [{**line, "pool": "main", "log_level": level}]


def test_every_incident_has_an_event_of_its_own() -> None:
    assert set(log.INCIDENTS) == set(get_args(Incident))
    assert len({event for event, _ in log.INCIDENTS.values()}) == len(log.INCIDENTS)


# Progress of the first filling


def warm(progress: log.Progress, number: int, target: int) -> list[tuple[str, str]]:
    notebook = notebook_of(KEY, "main", 0.0)
    with capture_logs() as logs:
        progress.hear(notebook.move(State.WARM, Reason.READY, 1.0), number, target)
    return [(line["event"], line["progress"]) for line in logs]


def test_the_first_filling_is_told_until_it_is_done_and_never_again() -> None:
    progress = log.Progress()
    assert warm(progress, 1, 2) == [("pool.warming", "1 of 2 warm")]
    assert warm(progress, 2, 2) == [("pool.warmed", "2 of 2 warm")]
    assert warm(progress, 1, 2) == []


def test_other_moves_are_no_progress() -> None:
    notebook = notebook_of(KEY, "main", 0.0)
    with capture_logs() as logs:
        log.Progress().hear(notebook.move(State.GONE, Reason.FAILED, 1.0), 0, 2)
    assert logs == []


# The form, in a process of its own: it is set for the whole process

PROGRAM = f"""
import logging, structlog, sys
from tmppool import incidents, log
from tmppool.incidents import Incident
log.configure(level="info", json={{json}})
structlog.get_logger("a").info("hello", path="/user/{KEY}/lab")
structlog.get_logger("a").debug("not this")
logging.getLogger("library").warning("GET %s", "/user/{KEY}/tree")
logging.getLogger("apscheduler.scheduler").info("chatter")
try:
    raise ValueError("no /user/{KEY}/x")
except ValueError:
    structlog.get_logger("a").exception("failed")
    logging.getLogger("library").exception("failed too")
"""


def written(json_wanted: object) -> str:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(json=json_wanted)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert found.stdout == ""
    assert KEY not in found.stderr
    return found.stderr


@pytest.mark.parametrize("wanted", [None, True])
def test_it_is_json_when_standard_error_is_no_terminal(wanted: object) -> None:
    lines = [json.loads(line) for line in written(wanted).splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("hello", "info"),
        ("GET /user/***/tree", "warning"),
        ("failed", "error"),
        ("failed too", "error"),
    ]
    assert lines[0]["path"] == "/user/***/lab"
    assert lines[0]["timestamp"].endswith("Z")
    assert all("ValueError: no /user/***/x" in line["exception"] for line in lines[2:])


def test_it_is_for_eyes_where_that_is_wanted() -> None:
    text = written(False)
    assert "hello" in text
    assert "/user/***/lab" in text
    assert "ValueError: no /user/***/x" in text
    assert not text.startswith("{")
