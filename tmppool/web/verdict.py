"""The verdicts on a request: who or what answers it. Values only; ``judge`` gives them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tmppool.notebook import Notebook
from tmppool.pool import Pool
from tmppool.web.kinds import Kind
from tmppool.web.tokens import Role


@dataclass(frozen=True, slots=True)
class Admitted:
    """A notebook that lives, its pool, and the role that this request has in it.

    ``is_explicit``: by a token that was said, not by a cookie.
    """

    pool: Pool
    notebook: Notebook
    role: Role
    is_explicit: bool


@dataclass(frozen=True, slots=True)
class Pass:
    """The notebook answers. ``path`` is what is asked for below it, ``target`` the request target to send there."""

    held: Admitted
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The service answers with one of its kinds; ``facts`` fill the page and the JSON."""

    kind: Kind
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Enter:
    """The browser gets the notebook's cookie, which holds ``token``, and is sent to ``path`` below the notebook."""

    pool: Pool
    notebook: Notebook
    token: str = field(repr=False)
    path: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The browser has the session token of a notebook without an owner: the first one to act becomes the owner."""

    entry: Enter
    refusal: Answer


@dataclass(frozen=True, slots=True)
class Redeem:
    """The browser says that the main host sent it: one of its ``tickets`` has to be a good one."""

    entry: Enter
    tickets: tuple[str, ...]
    refusal: Answer


@dataclass(frozen=True, slots=True)
class HandOff:
    """The owner's browser is at the main host: it is sent to the notebook's own with a ticket."""

    notebook: Notebook
    path: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """The browser is sent to ``location``."""

    location: str
    code: int = 303


@dataclass(frozen=True, slots=True)
class Unlock:
    """The browser of this machine's user is let in, with a cookie in place of the secret in ``location``."""

    location: str


@dataclass(frozen=True, slots=True)
class Serve:
    """One of the service's own addresses answers. ``held`` is the notebook that it is about, if it is about one."""

    held: Admitted | None = None


Entry = Enter | Claim | Redeem | HandOff
Verdict = Pass | Answer | Entry | Redirect | Unlock | Serve
