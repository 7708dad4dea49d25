"""The possible verdicts on a request, as values. ``judge`` returns them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tmppool.notebook import Notebook
from tmppool.pool import Pool
from tmppool.web.kinds import Kind
from tmppool.web.tokens import Role


@dataclass(frozen=True, slots=True)
class Admitted:
    """A live notebook, its pool, and the role that the request has in it.

    ``is_explicit``: authorized by an explicit token, not by a cookie.
    """

    pool: Pool
    notebook: Notebook
    role: Role
    is_explicit: bool


@dataclass(frozen=True, slots=True)
class Pass:
    """The request is forwarded to the notebook. ``path`` is below its base path; ``target`` is the one to send.

    ``is_app``: an app responds there, in a Jupyter server or in the place of one, and not Jupyter. ``authorization`` is
    the visitor's own Authorization, meant for an app; None without one.
    """

    held: Admitted
    path: str
    target: str
    is_app: bool
    authorization: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """The service answers with one of its kinds; ``facts`` fill the page and the JSON."""

    kind: Kind
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Enter:
    """The browser gets the notebook's cookie, with ``token``, and is redirected to ``path`` below the notebook."""

    pool: Pool
    notebook: Notebook
    token: str = field(repr=False)
    path: str


@dataclass(frozen=True, slots=True)
class Redeem:
    """The browser was redirected from the main host: it is let in if one of its ``tickets`` is valid."""

    entry: Enter
    tickets: tuple[str, ...]
    refusal: Answer


@dataclass(frozen=True, slots=True)
class HandOff:
    """The owner's browser is at the main host: it is redirected to the notebook's own host, with a ticket."""

    notebook: Notebook
    path: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """The browser is redirected to ``location``."""

    location: str
    code: int = 303


@dataclass(frozen=True, slots=True)
class Unlock:
    """The user of this machine gets the lock's cookie, and is redirected to ``location``, without the secret."""

    location: str


@dataclass(frozen=True, slots=True)
class Preflight:
    """A page of another origin asks whether it may send a request with a notebook's token.

    ``is_private``: it asks to reach a private network too.
    """

    is_private: bool


@dataclass(frozen=True, slots=True)
class Serve:
    """The handler of the service's own address answers. ``held`` is the notebook that it concerns, if any."""

    held: Admitted | None = None


Entry = Enter | Redeem | HandOff
Verdict = Pass | Answer | Entry | Redirect | Unlock | Preflight | Serve
