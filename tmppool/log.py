"""Configures structlog, logs each transition and incident as a listener, and masks secrets."""

import contextlib
import logging
import logging.handlers
import queue
import re
import sys
import time
from collections.abc import Callable, MutableMapping
from dataclasses import fields
from typing import Any, TextIO

import structlog

from tmppool import incidents, keys
from tmppool.incidents import Incident
from tmppool.notebook import UNDECIDED, State, Transition

_SECRET = re.compile(
    rf"(/(?:user|session)/){keys.GRAMMAR}[\w-]*"
    r"|((?:token|code|ticket|tmppool(?:-\w+)?)=|(?:token|[Bb]earer) )[^\s\"'&,;]{8,}"
)
INCIDENTS: dict[type[Incident], tuple[str, str]] = {
    incidents.StartFailed: ("start.failed", "error"),
    incidents.StartCrashed: ("start.crashed", "error"),
    incidents.StopFailed: ("stop.failed", "warning"),
    incidents.MarkFailed: ("mark.failed", "warning"),
    incidents.AssignmentsSuspended: ("assignments.suspended", "warning"),
    incidents.AssignmentsResumed: ("assignments.resumed", "info"),
    incidents.KernelsQueryFailed: ("kernels.query_failed", "info"),
    incidents.BackendFailed: ("backend.failed", "warning"),
    incidents.BackendRecovered: ("backend.recovered", "info"),
    incidents.DeathDisproved: ("death.disproved", "warning"),
    incidents.WatchFailed: ("watch.failed", "error"),
    incidents.SessionRecovered: ("session.recovered", "warning"),
    incidents.OrphanStopped: ("orphan.stopped", "warning"),
    incidents.ListenerFailed: ("listener.failed", "error"),
}
"""Event and level of each incident. Its fields become the event's, except ``cause``, which is logged as traceback."""

_MOST_LINES = 60  # of one event in a minute
_MINUTE = 60.0  # seconds
_MOST_WAITING = 10_000  # lines that wait to be written
_LAST_LINES = 2.0  # seconds that the end of the service waits for them

_log = structlog.get_logger("tmppool.notebook")


class FloodLimit(logging.Filter):
    """Limits the warnings and errors of one event, or of one library, to ``_MOST_LINES`` a minute.

    Visitors could fill the disk with them. The next line tells in ``unlogged`` how many are missing. A notebook's
    states are not limited: each has one line, and starts are limited elsewhere.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._counts: dict[tuple[str, str], int] = {}
        self._until = float("-inf")
        self._unlogged: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        event = record.msg.get("event", "") if isinstance(record.msg, dict) else ""  # a library's may hold anything
        key = (record.name, event)
        if record.levelno < logging.WARNING or key[1].startswith("notebook."):
            return True
        if self._is_over(key):
            self._unlogged[key] = self._unlogged.get(key, 0) + 1
            return False
        _tell_unlogged(record, self._unlogged.pop(key, 0))
        return True

    def _is_over(self, key: tuple[str, str]) -> bool:
        now = self._clock()
        if now >= self._until:
            self._counts, self._until = {}, now + _MINUTE
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key] > _MOST_LINES


class _Writer(logging.handlers.QueueListener):
    """Writes lines in a thread of its own. It is no handler, as Python's end waits for each of those."""

    def __init__(self, lines: "queue.Queue[logging.LogRecord | None]", stream: TextIO) -> None:
        super().__init__(lines)
        self._stream = stream

    def handle(self, record: logging.LogRecord) -> None:
        """Write one line, which is lost where that fails, as on a full disk: an error would end the thread for good."""
        with contextlib.suppress(Exception):
            self._stream.write(f"{record.getMessage()}\n")
            self._stream.flush()


class Spool(logging.handlers.QueueHandler):
    """Hands lines to a thread, as a write waits for as long as a disk, or a reader of a pipe, stands still.

    Lines for which there is no room are left out; the next one tells in ``unlogged`` how many are missing.
    """

    def __init__(self, stream: TextIO) -> None:
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(_MOST_WAITING)
        super().__init__(self._lines)
        self._left_out = 0
        _Writer(self._lines, stream).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a line on. Only this method does, one line at a time, so that what has room keeps it."""
        if self._lines.full():
            self._left_out += 1
            return
        _tell_unlogged(record, self._left_out)
        self._left_out = 0
        super().emit(record)

    def flush(self) -> None:
        """Wait until all lines are written, but not for long."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, _LAST_LINES)

    def close(self) -> None:
        """End the thread once it has written what waits; if it is stuck, it ends with the process."""
        if not self._lines.full():
            self._lines.put_nowait(None)  # the listener's own sign
        super().close()


def _tell_unlogged(record: logging.LogRecord, count: int) -> None:
    """Say in a line how many are missing before it."""
    if count and isinstance(record.msg, dict):
        record.msg = {**record.msg, "unlogged": count + record.msg.get("unlogged", 0)}
    elif count:
        record.msg, record.args = f"{record.getMessage()} (unlogged: {count})", None


def flush() -> None:
    """Wait until all lines are written, but not for long."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def configure(*, level: str, json: bool | None = None) -> None:
    """Log to standard error; ``json`` None: as JSON unless on a terminal. ``level``: debug, info, warning or error."""
    as_json = not sys.stderr.isatty() if json is None else json
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,  # to text, so that it is scrubbed too
        scrub,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(pad_event_to=22)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = Spool(_standard_error())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(FloodLimit())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in ("apscheduler", "asyncio", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It warns each time that a job is due while the last run waits for a hung engine, which is told once.
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)


def _standard_error() -> TextIO:
    """Return a stream to standard error for the thread: Python cannot end while one is stuck in ``sys.stderr``."""
    try:
        return open(sys.stderr.fileno(), "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    except OSError:  # it is no file
        return sys.stderr


def scrub(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask keys and tokens in every string, also those of libraries."""
    for name, value in event.items():
        event[name] = _masked(value)
    return event


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET.sub(lambda found: f"{found[1] or found[2]}***", value)
    if isinstance(value, (list, tuple)):
        return [_masked(part) for part in value]
    return value


def hear(fact: Transition) -> None:
    """Listener: one line per transition, with its reason."""
    notebook = fact.notebook
    level = _log.warning if fact.reason in UNDECIDED else _log.info
    level(
        f"notebook.{fact.to}",
        pool=notebook.pool,
        notebook=notebook.id,
        reason=fact.reason.value,
        after=round(fact.waited, 2),
    )


def hear_incident(incident: Incident) -> None:
    """Listener: one line per incident."""
    event, level = INCIDENTS[type(incident)]
    given = {field.name: getattr(incident, field.name) for field in fields(incident)}
    if "cause" in given:
        given["exc_info"] = given.pop("cause")
    getattr(_log, level)(event, **given)


class Progress:
    """Logs the progress of a pool's first fill, until its warm target is reached."""

    def __init__(self) -> None:
        self._is_warm = False

    def hear(self, fact: Transition, warm: int, target: int) -> None:
        if self._is_warm or fact.to is not State.WARM:
            return
        self._is_warm = warm >= target
        event = "pool.warmed" if self._is_warm else "pool.warming"
        _log.info(event, pool=fact.notebook.pool, progress=f"{warm} of {target} warm")
