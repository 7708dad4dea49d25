"""Periodic jobs with APScheduler: the pools' ticks and their comparison with the engine.

Shutting down the scheduler cancels the jobs that still await, so that work that must be finished runs in the pool's
own tasks, and a job may be repeated. APScheduler would run a plain function in a thread, so each is wrapped in a
coroutine function. APScheduler 3 drops a job that is more than one second late unless ``misfire_grace_time`` is None.
"""

import inspect
from collections.abc import Awaitable, Callable
from datetime import UTC

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

_OPTIONS = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}


def start(jobs: dict[str, tuple[Callable[[], object], float]]) -> AsyncIOScheduler:
    """Call each job at its interval in seconds; return the running scheduler."""
    scheduler = AsyncIOScheduler(timezone=UTC)
    for name, (job, seconds) in jobs.items():
        scheduler.add_job(
            _on_the_loop(job), IntervalTrigger(seconds=seconds, timezone=UTC), id=name, name=name, **_OPTIONS
        )
    scheduler.start()
    return scheduler


def _on_the_loop(job: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        result = job()
        if inspect.isawaitable(result):
            await result

    return call
