"""The decisions of a tick, as a pure function of the places, the limits, the wanted editions and the time."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tmppool.notebook import Notebook, Place, Reason, State

ASK_PAUSE = 60.0
"""Minimum seconds between two queries of one notebook. Its answers are untrusted, so they must not cause more
frequent queries."""

_MOST_ASKS = 10  # queries in one idle time; the end of a computation is known to a tenth of it


@dataclass(frozen=True, slots=True)
class Limits:
    """``capacity`` and ``warm`` count notebooks; ``idle``, ``lifetime`` and ``unopened`` are seconds, 0: no limit."""

    capacity: int
    warm: int
    idle: float
    lifetime: float
    parallel_starts: int
    unopened: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """``start``: the edition of each start; ``reap``: places and reasons; ``ask``: silent ones to query."""

    start: tuple[str, ...]
    reap: tuple[tuple[Place, Reason], ...]
    ask: tuple[Notebook, ...]


def plan(
    places: Iterable[Place],
    limits: Limits,
    weights: Mapping[str, float],
    now: float,
    *,
    may_start: bool,
    is_proof_due: bool = False,
) -> Plan:
    """Return the plan of one tick. ``weights``: by id of each wanted edition; ``now``: seconds of the pool's clock.

    Editions share the warm target by their weights. An unwanted edition has no share: its starts are cancelled, its
    sessions continue, and its warm notebooks are reaped as DRAINED once others are warm in their place. If no place is
    free, at most ``parallel_starts`` of them are reaped at a time to make room, only one before a notebook of a wanted
    edition has been warm, and never the last. So while one edition replaces another, there are never fewer warm
    notebooks than the target minus ``parallel_starts``, and never fewer than the target if that many places are free;
    if the new edition fails to start, the old one stays.
    A notebook that is being reaped still holds its place, so slow stops never exceed the capacity.
    ``is_proof_due``: nobody knows whether a start would succeed, so that one is made, in place of a warm notebook that
    is reaped as REPLACED if no place is free; but the last warm one is kept.
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
    needed = max(0, wanted - free - leaving)
    if not _has_answered(table, weights):
        needed = min(needed, 0 if free or starting or leaving else 1)
    surplus = _surplus(table, limits, weights, at_least=needed)
    reap.extend(surplus)
    start = missing[: min(wanted, free)]
    if is_proof_due and may_start and not (start or starting or leaving or surplus):
        proof, old = _proof(table, weights, free)
        start, reap = [*start, *proof], [*reap, *old]
    return Plan(tuple(start), tuple(reap), tuple(ask))


def opens_until(notebook: Notebook, limits: Limits) -> float | None:
    """Return the time at which an assigned notebook is reaped unless it was opened; None if that is not to come."""
    return notebook.moved_at + limits.unopened if limits.unopened and not notebook.is_opened else None


# Editions have weights for a roll-out: a new one begins with a small share of the warm notebooks.
def shares(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Divide ``total`` by the weights into whole numbers that add up to it (largest remainder method)."""
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
    """Return the sessions to reap, and those to query.

    One that nobody opened is reaped after ``unopened`` seconds, whatever runs in it: the service itself starts kernels.
    While its visitor is silent, a notebook is asked several times per idle time whether something works in it; a yes
    updates ``active_at``, so the idle time after a computation begins when it was last seen. After ``idle`` seconds
    without activity it is reaped if it has been asked since, else asked first. It is not asked again within ASK_PAUSE.
    A question without an answer tells nothing until a second one confirms it: a computation can starve the server.
    One that the operator has paused can neither be used nor answer: of the limits only its lifetime counts.
    """
    reap: list[tuple[Place, Reason]] = []
    ask: list[Notebook] = []
    for notebook in table:
        if not isinstance(notebook, Notebook) or notebook.state is not State.ASSIGNED:
            continue
        asked_at = -math.inf if notebook.asked_at is None else notebook.asked_at
        idle_at = notebook.active_at + limits.idle if limits.idle else math.inf
        if notebook.expires_at is not None and now >= notebook.expires_at:
            reap.append((notebook, Reason.EXPIRED))
        elif notebook.is_paused:
            continue
        elif (closes_at := opens_until(notebook, limits)) is not None and now >= closes_at:
            reap.append((notebook, Reason.UNOPENED))
        elif now >= idle_at and asked_at >= idle_at and notebook.unanswered != 1:
            reap.append((notebook, Reason.IDLE))
        elif _is_to_be_asked(notebook.active_at, asked_at, limits.idle, now):
            ask.append(notebook)
    return reap, ask


def _is_to_be_asked(active_at: float, asked_at: float, idle: float, now: float) -> bool:
    if not idle or now - asked_at < ASK_PAUSE:
        return False
    pause = idle / max(1, min(_MOST_ASKS, idle // ASK_PAUSE))  # a whole number of them, the last when it falls due
    return now >= active_at + idle or now - max(active_at, asked_at) >= pause


def _has_answered(table: Sequence[Place], weights: Mapping[str, float]) -> bool:
    """Return True if a notebook of a wanted edition is, or was, warm."""
    return any(place.edition in weights and place.state in (State.WARM, State.ASSIGNED) for place in table)


def _proof(
    table: Sequence[Place], weights: Mapping[str, float], free: int
) -> tuple[list[str], list[tuple[Place, Reason]]]:
    """Return the edition of a start beyond the target, or, where no place is free, the warm notebook to replace."""
    if not weights:
        return [], []
    if free:
        return [max(weights, key=lambda edition: weights[edition])], []
    warm = sorted((place for place in table if place.state is State.WARM), key=lambda place: place.moved_at)
    return [], [(place, Reason.REPLACED) for place in warm[:1] if len(warm) > 1]


def _missing(table: Sequence[Place], limits: Limits, weights: Mapping[str, float]) -> list[str]:
    """Return the edition of each notebook that is missing from the warm target, the emptiest share first.

    A paused one is not available, and keeps its place.
    """
    taken = sum(place.state is State.ASSIGNED or _is_paused_warm(place) for place in table)
    available = [place for place in table if place.state in (State.WARM, State.STARTING) and not _is_paused_warm(place)]
    has = Counter(place.edition for place in available)
    wanted = shares(max(0, min(limits.warm, limits.capacity - taken)), weights)
    # In the order that fills the shares evenly.
    lacking = [
        ((number + 1) / share, edition) for edition, share in wanted.items() for number in range(has[edition], share)
    ]
    return [edition for _, edition in sorted(lacking, key=lambda each: each[0])]


def _is_paused_warm(place: Place) -> bool:
    return isinstance(place, Notebook) and place.is_paused and place.state is State.WARM


def _surplus(
    table: Sequence[Place], limits: Limits, weights: Mapping[str, float], *, at_least: int
) -> list[tuple[Place, Reason]]:
    """Return the warm ones to reap: those above the target, and at least ``at_least`` above their editions' shares.

    None that is paused.
    """
    warm = [place for place in table if place.state is State.WARM and not _is_paused_warm(place)]
    warm.sort(key=lambda place: place.moved_at)
    # Not REAPING: those places will soon be free; counting them would reap too many.
    others = sum(place.state in (State.STARTING, State.ASSIGNED) or _is_paused_warm(place) for place in table)
    room = max(0, min(limits.warm, limits.capacity - others))
    left = Counter(shares(room, weights))
    beyond: list[Place] = []
    for place in warm:  # an edition's youngest are above its share
        left[place.edition] -= 1
        if left[place.edition] < 0:
            beyond.append(place)
    count = max(len(warm) - room, min(at_least, len(warm) - 1))
    unwanted = [place for place in beyond if place.edition not in weights][:count]
    spare = [place for place in beyond if place.edition in weights]
    spare = spare[max(0, len(spare) - (count - len(unwanted))) :]
    return [*((place, Reason.DRAINED) for place in unwanted), *((place, Reason.SURPLUS) for place in spare)]
