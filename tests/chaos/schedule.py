"""Which faults come in which order: a pure function of the seed."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.chaos.fault import Fault


@dataclass(frozen=True)
class Step:
    """A fault, the seconds of quiet before it, and how long it lasts."""

    fault: Fault
    quiet: float
    seconds: float


def steps(seed: int, faults: Iterable[Fault], *, spread: float = 0.25) -> Iterator[Step]:
    """Return each fault once, in the order and at the moments of this seed.

    ``spread``: the largest part by which its length differs from its own.
    """
    chance = random.Random(seed)
    shuffled = list(faults)
    chance.shuffle(shuffled)
    for fault in shuffled:
        yield Step(fault, chance.uniform(0, 1), fault.seconds * chance.uniform(1, 1 + spread))
