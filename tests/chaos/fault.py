"""What a fault is."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any


class Kills(Enum):
    """Which visitors' containers a fault itself ends; every other session has to survive it."""

    NOTHING = auto()
    LEAD = auto()
    ALL = auto()


@dataclass(frozen=True)
class Fault:
    """``act`` takes a ``World``; the fault begins with its entry, lasts ``seconds``, and is over after its exit.

    ``known`` has what the name of a check of the health may contain that has to fail meanwhile; empty if the health
    need not know. With ``may_heal_at_once`` a line of the log about it suffices. ``breaks_sockets``: the service itself
    is away. ``is_deaf``: it may not answer clicks. ``touches_lead``: something is done to the first visitor's
    container, who is sent away afterwards.
    """

    name: str
    act: Callable[[Any], AbstractAsyncContextManager[None]]
    seconds: float = 4.0
    kills: Kills = Kills.NOTHING
    known: tuple[str, ...] = ()
    may_heal_at_once: bool = False
    breaks_sockets: bool = False
    is_deaf: bool = False
    touches_lead: bool = False
