"""Periodic jobs with APScheduler: the pools' ticks and their comparison with the engine.

Shutting down the scheduler cancels the jobs that still await, so that work that must be finished runs in the pool's
own tasks, and a job may be repeated. APScheduler would run a plain function in a thread, so each is wrapped in a
coroutine function. APScheduler 3 drops a job that is more than one second late unless ``misfire_grace_time`` is None.

APScheduler 3 goes by the wall clock, which may be set while the service runs. Set back by a day, it would put off all
jobs by a day, so they are looked at every second. Set ahead by a year, it would go through each interval of the year,
so the next time is counted from now.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from apscheduler.events import EVENT_SCHEDULER_SHUTDOWN
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from tmppool.tasks import spawn

_OPTIONS = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
_LOOK = 1.0  # seconds between two looks at the wall clock


def start(jobs: dict[str, tuple[Callable[[], object], float]]) -> AsyncIOScheduler:
    """Call each job at its interval in seconds; return the running scheduler."""
    scheduler = AsyncIOScheduler(timezone=UTC)
    for name, (job, seconds) in jobs.items():
        scheduler.add_job(_on_the_loop(job), _Every(seconds=seconds, timezone=UTC), id=name, name=name, **_OPTIONS)
    scheduler.start()
    watching = spawn(_watch(scheduler), "watch the wall clock")
    scheduler.add_listener(lambda _event: watching.cancel(), EVENT_SCHEDULER_SHUTDOWN)
    return scheduler


class _Every(IntervalTrigger):
    """An interval that is counted from now."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        del previous_fire_time
        return now + self.interval


async def _watch(scheduler: AsyncIOScheduler) -> None:
    """Run the jobs now if they are further away than their interval: the wall clock was set back."""
    while True:
        await asyncio.sleep(_LOOK)
        now = datetime.now(UTC)
        for job in scheduler.get_jobs():
            if job.next_run_time - now > job.trigger.interval:
                job.modify(next_run_time=now)


def _on_the_loop(job: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        result = job()
        if inspect.isawaitable(result):
            await result

    return call
