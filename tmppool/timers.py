"""APScheduler: when the pools tick and compare themselves with the engine.

A job only calls: work that takes time belongs to the pool's own tasks, because shutting the scheduler down cancels
coroutine jobs. APScheduler 3 drops a job that is more than one second late unless ``misfire_grace_time`` is None.
"""

from collections.abc import Callable

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

_OPTIONS = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}


def start(jobs: dict[str, tuple[Callable[[], object], float]]) -> AsyncIOScheduler:
    """Call each job every so many seconds; returns the running scheduler."""
    scheduler = AsyncIOScheduler(timezone="UTC")
    for name, (job, seconds) in jobs.items():
        scheduler.add_job(job, IntervalTrigger(seconds=seconds), id=name, name=name, **_OPTIONS)
    scheduler.start()
    return scheduler
