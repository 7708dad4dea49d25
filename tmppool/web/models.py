"""The JSON bodies of both listeners: handlers answer with them, and the OpenAPI documents are generated from them.

A body has exactly the fields of its model. No field is optional: a body with two shapes has two models, and null is a
value with a meaning of its own. Times are wall-clock times, in seconds since 1970.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from tmppool.notebook import Reason, State
from tmppool.web.tokens import Role

Count = Annotated[int, Field(ge=0)]
WallTime = Annotated[float, Field(description="Seconds since 1970.")]
End = Annotated[float | None, Field(description="Seconds since 1970; null where there is no limit.")]


class Body(BaseModel):
    """A JSON object. Its docstring and those of its fields are its description in the OpenAPI document."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_serialization_defaults_required=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )


def to_response(body: Body, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return ``body`` as a response that is not cached, unless ``headers`` say otherwise."""
    return web.json_response(
        body.model_dump(mode="json"), status=status, headers={"Cache-Control": "no-store", **(headers or {})}
    )


class Error(Body):
    """Any refusal that a program can only show to somebody."""

    message: str


# A notebook for a visitor


class Spawned(Body):
    url: str
    """A path on this host, or a whole URL where notebooks have host names of their own."""
    token: str
    """The notebook's own token, for `Authorization: token VALUE` or `?token=VALUE`."""
    pool: str
    expires_at: End
    idle_expires_at: End
    """If it is not used before: sooner than by the idle limit for a notebook that nobody has opened."""


class BuildEvent(Body):
    """A message of the event stream, in the form of BinderHub's."""

    phase: Literal["waiting", "failed"]
    """`failed` is the last message."""
    message: str


class Ready(Body):
    """The last message of the event stream: the notebook."""

    phase: Literal["ready"] = "ready"
    message: str
    url: str
    """The whole URL of the notebook, with a slash at its end."""
    token: str
    """The notebook's own token, for `Authorization: token VALUE` or `?token=VALUE`."""
    pool: str


class Listed(Body):
    """A document in the home of a pool's image."""

    path: str
    """Below the notebook's working directory, decoded."""
    title: str
    """Its first heading; empty if it has none."""


class Documents(Body):
    pool: str
    pools: list[str]
    """The names of all pools, the default one first."""
    is_complete: bool
    """False where notebooks may have documents that the image does not have, from directories of the host."""
    documents: list[Listed]


class OEmbedLink(Body):
    """oEmbed of a launch link that not every page may embed."""

    version: Literal["1.0"] = "1.0"
    type: Literal["link"] = "link"
    title: str
    provider_name: Literal["tmppool"] = "tmppool"
    provider_url: str
    thumbnail_url: str


class OEmbedFrame(Body):
    """oEmbed of a launch link: a frame with the launch page, and then the notebook."""

    version: Literal["1.0"] = "1.0"
    type: Literal["rich"] = "rich"
    title: str
    provider_name: Literal["tmppool"] = "tmppool"
    provider_url: str
    thumbnail_url: str
    html: str
    width: Count
    height: Count


class BinderVersions(Body):
    """By `binderhub`, pages recognise a service that takes Binder's links."""

    binderhub: str
    builder: str = "none: notebooks run images that the operator has built"


class HubVersion(Body):
    """By `version`, pages recognise a service that takes JupyterHub's links."""

    version: str


class Full(Body):
    """All notebooks of the pool are in use."""

    status: Literal["full"] = "full"
    message: str


class Limited(Body):
    """Too many starts, or too many wrong workshop codes, from this network address."""

    status: Literal["limited"] = "limited"
    message: str


class Held(Body):
    """The client's network address holds as many notebooks of the pool as one address may at a time."""

    status: Literal["held"] = "held"
    message: str


class Warming(Body):
    """Notebooks are being started."""

    status: Literal["warming"] = "warming"
    message: str


class WrongCode(Body):
    """The workshop code is wrong."""

    status: Literal["wrong-code"] = "wrong-code"
    message: str


class LaunchForm(Body):
    """The fields of the launch page's form."""

    ticket: str
    code: str = ""
    """The workshop's code, where there is one."""
    returns: str = ""
    """Tickets that this browser has used, separated by blanks; used where each notebook has its own host name."""


class Stats(Body):
    """The notebooks of one pool."""

    available: Count
    """As `warm`; tmpnb's name for it."""
    capacity: Count
    """The number of notebooks that there may be, those that are starting or assigned included."""
    version: str
    """Of the service."""
    container_image: str
    starting: Count
    warm: Count
    assigned: Count


# A session


class Session(Body):
    """A session that goes on."""

    state: Literal["live"] = "live"
    now: WallTime
    """The service's clock, by which the ends below are to be read. Seconds since 1970."""
    role: Role
    expires_at: End
    idle_expires_at: End


class CutOffSession(Session):
    """A session that goes on, and in the last minute requests of its page may have been refused.

    Then no cell runs there: the proxy in front changes the host, or removes the Upgrade of WebSockets.
    """

    cut_off: Literal[True] = True


class Ended(Body):
    """A session that this request has ended."""

    state: Literal["gone"] = "gone"
    reason: Literal[Reason.ENDED] = Reason.ENDED
    explanation: str


class Shared(Body):
    url: str | None
    """The link that lets others in; null when the notebook is not shared."""


class Gone(Body):
    """No notebook has this key: its session ended, or never was."""

    message: str
    """As `explanation`."""
    state: Literal["gone"] = "gone"
    reason: Reason | Literal["unknown"]
    explanation: str
    fresh_url: str
    """The launch link for another notebook with the same document open."""


class Foreign(Body):
    """The notebook is another visitor's."""

    message: str
    state: Literal["foreign"] = "foreign"
    fresh_url: str
    """The launch link for a notebook of one's own with the same document open."""


# Health


class Check(Body):
    service: str
    ok: bool
    state: Literal["healthy", "degraded"]


class Advisory(Body):
    """A check that does not count for the service's health."""

    service: str
    ok: bool
    ignore_failure: Literal[True] = Field(default=True, alias="_ignore_failure")


class Health(Body):
    ok: bool
    """True when a visitor can be served."""
    checks: list[Check | Advisory]


# The admin listener


class DetailedCheck(Body):
    service: str
    ok: bool
    message: str
    """Empty when nothing failed."""


class HealthReport(Body):
    ok: bool
    """True when a visitor can be served."""
    checks: list[DetailedCheck | Advisory]


class Drained(Body):
    drained: Count


class Notebook(Body):
    id: str
    """A digest of its key."""
    pool: str
    state: State
    since: WallTime
    """The time at which it came into this state. Seconds since 1970."""
    idle_for: float | None
    """Seconds without activity; null unless it is assigned."""


class Notebooks(Body):
    notebooks: list[Notebook]
