"""The verdicts on a request: who or what answers it. Values only; ``judge`` gives them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from tmppool.notebook import Notebook
from tmppool.pool import Pool
from tmppool.web.kinds import Kind
from tmppool.web.tokens import Access, Role


@dataclass(frozen=True, slots=True)
class Held:
    """A notebook that lives, its pool, and what this request may do in it."""

    pool: Pool
    notebook: Notebook
    access: Access


@dataclass(frozen=True, slots=True)
class Pass:
    """The notebook answers. ``path`` is what is asked for below it, ``target`` the request target to send there."""

    held: Held
    path: str
    target: str
    is_websocket: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The service answers with one of its kinds; ``facts`` fill the page and the JSON."""

    kind: Kind
    facts: Mapping[str, object] = field(default_factory=dict)


class Way(Enum):
    """The way by which a browser comes into a notebook."""

    KNOWN = auto()  # it is the owner's, or a guest's who has the token
    FIRST = auto()  # it has the session token of a notebook that belongs to no browser yet
    HANDOFF = auto()  # it says that the main host sent it; ``tickets`` have to prove that
    OWN_HOST = auto()  # it is the owner's, at the main host: sent on to the notebook's own


@dataclass(frozen=True, slots=True)
class Enter:
    """The browser is let into the notebook, with a cookie in place of any token, and sent to ``path`` below it.

    ``otherwise`` answers a browser that came too late with what is good once.
    """

    pool: Pool
    notebook: Notebook
    role: Role
    path: str
    way: Way = Way.KNOWN
    tickets: tuple[str, ...] = ()
    otherwise: Answer | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """The browser is sent to ``location``."""

    location: str
    code: int = 303


@dataclass(frozen=True, slots=True)
class Unlock:
    """The browser of this machine's user is let in, with a cookie in place of the secret in ``location``."""

    location: str


@dataclass(frozen=True, slots=True)
class Own:
    """One of the service's own addresses answers. ``held`` is the notebook that it is about, if it is about one."""

    held: Held | None = None


Verdict = Pass | Answer | Enter | Move | Unlock | Own
