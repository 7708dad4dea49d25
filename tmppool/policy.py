"""What a tick decides. Pure: facts, limits and the time go in, a plan comes out."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tmppool.notebook import Notebook, Place, Reason, State

ASK_PAUSE = 60.0
"""Seconds between two questions to one notebook at least: what it answers, a stranger decides, so that it must not
decide how often it is read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``capacity`` and ``warm`` count notebooks; ``idle`` and ``lifetime`` are seconds, 0 means no limit."""

    capacity: int
    warm: int
    idle: float
    lifetime: float
    parallel_starts: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``start``: how many; ``reap``: which and why; ``ask``: silent ones to ask whether a kernel computes."""

    start: int
    reap: tuple[tuple[Place, Reason], ...]
    ask: tuple[Notebook, ...]


def plan(places: Iterable[Place], limits: Limits, now: float, *, may_start: bool) -> Plan:
    """Decide one round.

    A notebook whose visitor has been silent for ``idle`` seconds is first asked whether a kernel computes, and
    reaped only if no activity was reported: the answer moves ``active_at``. It is not asked again within ASK_PAUSE;
    meanwhile it is reaped if its last answer told of nothing that goes on, and spared if it did.
    A notebook that is being reaped still holds its place, so capacity is never exceeded by slow stops.
    """
    table = list(places)
    reap: list[tuple[Place, Reason]] = []
    ask: list[Notebook] = []
    for notebook in table:
        if not isinstance(notebook, Notebook) or notebook.state is not State.ASSIGNED:
            continue
        if notebook.expires_at is not None and now >= notebook.expires_at:
            reap.append((notebook, Reason.EXPIRED))
        elif limits.idle and now >= (due := notebook.active_at + limits.idle):
            asked = -math.inf if notebook.asked_at is None else notebook.asked_at
            is_fresh = now - asked < ASK_PAUSE
            if asked >= due or (is_fresh and asked > notebook.active_at):
                reap.append((notebook, Reason.IDLE))
            elif not is_fresh:
                ask.append(notebook)
    warm = sorted((n for n in table if n.state is State.WARM), key=lambda n: n.moved_at)
    # Those being reaped will soon leave their places: were they counted, the next tick would reap too many.
    others = sum(n.state in (State.STARTING, State.ASSIGNED) for n in table)
    room = max(0, min(limits.warm, limits.capacity - others))
    reap.extend((notebook, Reason.SURPLUS) for notebook in warm[room:])
    return Plan(_starts(table, limits) if may_start else 0, tuple(reap), tuple(ask))


def _starts(table: list[Place], limits: Limits) -> int:
    held = sum(n.state is not State.GONE for n in table)
    starting = sum(n.state is State.STARTING for n in table)
    warm = sum(n.state is State.WARM for n in table)
    return max(0, min(limits.warm - warm - starting, limits.capacity - held, limits.parallel_starts - starting))
