"""The only place where asyncio tasks are created: each is referenced and named, and its failure is logged."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

T = TypeVar("T")

_HURRIED = 1.0  # seconds that a cancelled task has in a hurry

_log = structlog.get_logger("tmppool.tasks")
_alive: set[asyncio.Task[Any]] = set()


def spawn(work: Coroutine[Any, Any, T], name: str, *, awaited: bool = False) -> asyncio.Task[T]:
    """Run ``work`` concurrently. ``awaited``: the caller awaits the task, so its failure is not logged here.

    The event loop keeps only a weak reference to a task (Python documentation, asyncio.create_task), so that an
    unreferenced task may be garbage-collected before it ends; this module references it until it is done.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    _alive.add(task)
    task.add_done_callback(_done_awaited if awaited else _done)
    return task


async def completed(work: Coroutine[Any, Any, T], name: str) -> T:
    """Await ``work`` to its end even if the caller is cancelled; CancelledError is raised afterwards.

    For work that must not be interrupted. It must be bounded in time, since cancellation waits for it.
    """
    task = spawn(work, name, awaited=True)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise


async def finish(tasks: set[asyncio.Task[Any]], grace: float, hurry: asyncio.Event | None = None) -> None:
    """Wait up to ``grace`` seconds for ``tasks``, then cancel the rest and wait for them to end.

    Once ``hurry`` is set they are cancelled at once, and those that do not end within a second are left.
    """
    if not tasks:
        return
    hurry = hurry or asyncio.Event()
    for seconds in (grace, None):
        late = await _wait(tasks, seconds, hurry)
        for task in late:
            task.cancel()
    if late:
        await asyncio.wait(late, timeout=_HURRIED)


async def _wait(tasks: set[asyncio.Task[Any]], seconds: float | None, hurry: asyncio.Event) -> set[asyncio.Task[Any]]:
    """Wait until all tasks are done, the time is over or ``hurry`` is set; return those that are not done."""
    if not hurry.is_set():
        ends = {spawn(asyncio.wait(tasks), "the last of them"), spawn(hurry.wait(), "a hurry")}
        try:
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
    return {task for task in tasks if not task.done()}


def _done_awaited(task: asyncio.Task[Any]) -> BaseException | None:
    """Retrieve the exception, so that asyncio does not log it as never retrieved if the caller was cancelled."""
    _alive.discard(task)
    return None if task.cancelled() else task.exception()


def _done(task: asyncio.Task[Any]) -> None:
    error = _done_awaited(task)
    if error is not None:
        _log.error("task.failed", task=task.get_name(), error=repr(error), exc_info=error)
