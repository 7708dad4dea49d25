"""Progress report of a long job: one line per step on stderr, all output of its tools in a log file."""

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from tmppool.errors import BackendError, ImageError, TmppoolError

TAIL = 8  # lines of output shown if a step fails
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CHATTER = ("Removing intermediate container", " ---> ")  # lines of the engine that are never an error
_COMMAND_FAILED = re.compile(r"The command .* returned a non-zero code: \d+", re.DOTALL)


class StepError(TmppoolError):
    """A step's tool failed; the text is the reason. ``Report.step`` turns it into an ``ImageError``."""


class Report:
    """The steps of one job, in order; an async context manager that opens and closes the log.

    On a terminal each step shows a spinner, its duration in seconds and the last line of its output; elsewhere it
    prints one plain line when it begins.
    """

    def __init__(self, job: str, log: Path, console: Console | None = None) -> None:
        """``job`` begins every error message; ``log`` is overwritten, and its directory is created."""
        self.job = job
        self.log = log
        self._console = console or Console(stderr=True)
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._began = time.monotonic()
        self._task: TaskID | None = None
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[last]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    async def __aenter__(self) -> Self:
        """Open the log. Raises ``ImageError`` if it cannot be written."""
        try:
            self._file = await asyncio.to_thread(self._open)
        except OSError as error:
            raise ImageError(f"{self.job}: the log {self.log} cannot be written: {error.strerror}") from error
        self._progress.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        await asyncio.to_thread(self._file.close)

    def _open(self) -> TextIO:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        return self.log.open("w", encoding="utf-8", buffering=1)

    async def line(self, text: str) -> None:
        """Log a tool's output: one or more lines, or part of one."""
        lines = [line for line in _COLOUR.sub("", text).replace("\r", "\n").splitlines() if line.strip()]
        if not lines:
            return
        self._tail.extend(line for line in lines if not line.startswith(_CHATTER))
        if self._task is not None:
            self._progress.update(self._task, last=escape(lines[-1].strip()))
        await asyncio.to_thread(self._file.writelines, [f"{line}\n" for line in lines])

    async def note(self, text: str) -> None:
        """Print and log a fact that is not a step."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        await self.line(f"# {text}")

    @asynccontextmanager
    async def step(self, title: str) -> AsyncIterator[None]:
        """Show ``title`` while the block runs; turn its errors into an ``ImageError`` that names step and log."""
        elapsed = time.monotonic() - self._began
        await self.line(f"## {elapsed:.0f} s: {title}")
        self._tail.clear()
        self._task = self._progress.add_task(escape(title), total=1, last="")
        if self._progress.disable:
            self._console.print(f"{elapsed:4.0f} s  {title}", markup=False, highlight=False, soft_wrap=True)
        try:
            yield
        except (StepError, BackendError, OSError) as error:
            raise self._failure(title, error) from error
        finally:
            self._progress.stop_task(self._task)
        self._progress.update(self._task, completed=1, last="")
        self._task = None

    def _failure(self, title: str, error: Exception) -> ImageError:
        self._progress.stop()
        for line in self._tail:
            self._console.print(f"    {line.rstrip()}", markup=False, highlight=False, soft_wrap=True, style="dim")
        reason = str(error) or type(error).__name__
        if _COMMAND_FAILED.fullmatch(reason.strip()) and self._tail:
            reason = self._tail[-1]  # the engine quotes the long command; the command's own output says why
        return ImageError(f"{self.job}: the step '{title}' failed: {reason.strip()} (whole log: {self.log})")
