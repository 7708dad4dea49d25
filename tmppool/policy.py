"""The decisions of a tick. Pure: facts, limits, wanted editions and the time go in, a plan comes out."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
    """``start``: of which edition each; ``reap``: which and why; ``ask``: silent ones to ask if a kernel computes."""

    start: tuple[str, ...]
    reap: tuple[tuple[Place, Reason], ...]
    ask: tuple[Notebook, ...]


def plan(places: Iterable[Place], limits: Limits, weights: Mapping[str, float], now: float, *, may_start: bool) -> Plan:
    """Decide one round. ``weights``: of each wanted edition, by id; ``now``: seconds of the pool's clock.

    Editions share the warm target by their weights. One that is not wanted has no share: its starts are given up, its
    sessions go on, and its warm notebooks are reaped as DRAINED, but only as far as others are warm in their stead.
    Where no place is free they make room for at most ``parallel_starts`` at a time. So while one edition replaces
    another there are never fewer warm notebooks than the target less ``parallel_starts``, and never fewer than the
    target where that many places are free; and where the new one does not start, the old one stays.
    A notebook that is being reaped still holds its place, so capacity is never exceeded by slow stops.
    """
    table = list(places)
    reap, ask = _sessions(table, limits, now)
    unwanted = [place for place in table if place.state is State.STARTING and place.edition not in weights]
    reap.extend((place, Reason.DRAINED) for place in unwanted)
    table = [place for place in table if place not in unwanted]
    missing = _missing(table, limits, weights)
    starting = sum(place.state is State.STARTING for place in table)
    wanted = max(0, min(len(missing), limits.parallel_starts - starting)) if may_start else 0
    held = sum(place.state is not State.GONE for place in table) + len(unwanted)
    free = max(0, limits.capacity - held)
    leaving = sum(place.state is State.REAPING for place in table) + len(unwanted)
    reap.extend(_surplus(table, limits, weights, at_least=max(0, wanted - free - leaving)))
    return Plan(tuple(missing[: min(wanted, free)]), tuple(reap), tuple(ask))


def shares(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Return ``total`` divided by the weights, in whole numbers that add up to it (largest remainder method)."""
    whole = sum(weights.values())
    if whole <= 0:
        return dict.fromkeys(weights, 0)
    exact = {name: total * weight / whole for name, weight in weights.items()}
    found = {name: math.floor(share) for name, share in exact.items()}
    left = total - sum(found.values())
    for name in sorted(exact, key=lambda name: found[name] - exact[name])[:left]:
        found[name] += 1
    return found


def _sessions(table: Sequence[Place], limits: Limits, now: float) -> tuple[list[tuple[Place, Reason]], list[Notebook]]:
    """Return which sessions end, and which are asked.

    A notebook whose visitor has been silent for ``idle`` seconds is first asked whether a kernel computes, and
    reaped only if no activity was reported: the answer moves ``active_at``. It is not asked again within ASK_PAUSE;
    meanwhile it is reaped if its last answer told of nothing that goes on, and spared if it did.
    """
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
    return reap, ask


def _missing(table: Sequence[Place], limits: Limits, weights: Mapping[str, float]) -> list[str]:
    """Return the edition of each notebook that the warm target lacks, the one that lacks most first."""
    sessions = sum(place.state is State.ASSIGNED for place in table)
    has = Counter(place.edition for place in table if place.state in (State.WARM, State.STARTING))
    wanted = shares(max(0, min(limits.warm, limits.capacity - sessions)), weights)
    # In the order in which their shares fill up evenly.
    lacking = [
        ((number + 1) / share, edition) for edition, share in wanted.items() for number in range(has[edition], share)
    ]
    return [edition for _, edition in sorted(lacking, key=lambda each: each[0])]


def _surplus(
    table: Sequence[Place], limits: Limits, weights: Mapping[str, float], *, at_least: int
) -> list[tuple[Place, Reason]]:
    """Return the warm ones to reap: what is beyond the target, and ``at_least`` so many beyond their own shares."""
    warm = sorted((place for place in table if place.state is State.WARM), key=lambda place: place.moved_at)
    # Those being reaped will soon leave their places: were they counted, the next tick would reap too many.
    others = sum(place.state in (State.STARTING, State.ASSIGNED) for place in table)
    room = max(0, min(limits.warm, limits.capacity - others))
    left = Counter(shares(room, weights))
    beyond: list[Place] = []
    for place in warm:  # the youngest of an edition are beyond its share
        left[place.edition] -= 1
        if left[place.edition] < 0:
            beyond.append(place)
    count = max(len(warm) - room, at_least)
    unwanted = [place for place in beyond if place.edition not in weights][:count]
    spare = [place for place in beyond if place.edition in weights]
    spare = spare[max(0, len(spare) - (count - len(unwanted))) :]
    return [*((place, Reason.DRAINED) for place in unwanted), *((place, Reason.SURPLUS) for place in spare)]
