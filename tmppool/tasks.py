"""The only place where a task is made: it is kept, named, and its death is logged."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

T = TypeVar("T")

_log = structlog.get_logger("tmppool.tasks")
_alive: set[asyncio.Task[Any]] = set()


def spawn(work: Coroutine[Any, Any, T], name: str, *, awaited: bool = False) -> asyncio.Task[T]:
    """Run ``work`` beside the caller. ``awaited``: the caller awaits its end and so hears of its failure itself.

    The loop itself keeps only a weak reference to a task (Python documentation, asyncio.create_task), so a task
    that nobody holds may vanish in the middle of its work; this module holds it until it is done.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    _alive.add(task)
    task.add_done_callback(_done_awaited if awaited else _done)
    return task


async def completed(work: Coroutine[Any, Any, T], name: str) -> T:
    """Await ``work`` to its end, also when the caller is cancelled meanwhile; then that is raised after the end.

    For work that would leave something half done. It must be bounded in time, since its caller cannot leave sooner.
    """
    task = spawn(work, name, awaited=True)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise


async def finish(tasks: set[asyncio.Task[Any]], grace: float) -> None:
    """Wait up to ``grace`` seconds for ``tasks``, then cancel what is left and wait for that to end."""
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=grace)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


def _done_awaited(task: asyncio.Task[Any]) -> BaseException | None:
    """Asks for the failure, so that the loop does not call it unretrieved where the caller was cancelled meanwhile."""
    _alive.discard(task)
    return None if task.cancelled() else task.exception()


def _done(task: asyncio.Task[Any]) -> None:
    error = _done_awaited(task)
    if error is not None:
        _log.error("task.failed", task=task.get_name(), error=repr(error), exc_info=error)
