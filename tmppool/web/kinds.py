"""The table of answers that the service gives instead of a notebook or a page. Pure.

A kind defines the status, the page for people and the JSON for programs. ``answers`` renders them. These answer whole
requests, and the connection goes on; malformed ones are refused by ``tmppool.proxy.refusals``, which close it.
"""

from dataclasses import dataclass
from enum import Enum

from tmppool.proxy.refusals import BODY_TOO_LARGE, NOT_ACCEPTED
from tmppool.web.models import Body, Error, Foreign, Full, Gone, Held, Limited, Warming, WrongCode


class Cors(Enum):
    """The other origins whose pages may read the JSON."""

    NONE = "none"
    SETTINGS = "settings"  # those of --allow-origin
    ANY = "any"  # it reveals nothing, and clients on other origins need it


@dataclass(frozen=True, slots=True, eq=False)  # by identity: Enum aliases members of equal value
class Shape:
    """The shape of one kind: status, page and JSON.

    ``message`` is the sentence, unless the facts have one. ``page`` is the template, ``title`` the heading of the
    generic one. ``for_readers`` is what that one says instead where the message is for the author of a link or page:
    the message follows, smaller. ``has_home``: the page links to the start. ``forgets_cookie``: it deletes the
    notebook's cookie, unless the notebook may yet be found.
    ``body`` is the model of the JSON, filled from the message and the facts; ``for_programs`` is its HTTP status if
    that differs from the page's ``code``; ``cors``: the other origins whose pages may read it.
    """

    code: int
    message: str = ""
    title: str = ""
    page: str = "error"
    for_readers: str = ""
    has_home: bool = True
    forgets_cookie: bool = False
    body: type[Body] = Error
    for_programs: int | None = None
    cors: Cors = Cors.NONE


_TELL_THE_AUTHOR = "Nothing has been started. Please tell the author of the page where you found it."


class Kind(Enum):
    # Notebooks that cannot be used
    GONE = Shape(410, page="gone", forgets_cookie=True, body=Gone, for_programs=424, cors=Cors.ANY)
    UNKNOWN = Shape(404, page="gone", forgets_cookie=True, body=Gone, for_programs=424, cors=Cors.ANY)
    FOREIGN = Shape(
        403,
        "This notebook belongs to another browser. Its owner can share it; programs must send its token.",
        page="foreign",
        body=Foreign,
        cors=Cors.ANY,
    )
    LINK_LOST = Shape(
        403,
        "Please open the link that you were given again: the address of this page alone opens no notebook. If this page"
        " comes again, your browser blocks the cookies of this site; please allow them first.",
        "Open the link again",
    )
    UNREACHABLE = Shape(
        502,
        "The notebook is not responding. It may be restarting; please try again in a moment.",
        "No answer",
        cors=Cors.ANY,
    )
    PAUSED = Shape(
        503,
        "The people who run this service have paused this notebook. It goes on when they continue it, and nothing in it"
        " is lost. Please reload this page then.",
        "Paused",
        has_home=False,  # that would lead the owner here again
        cors=Cors.ANY,
    )
    NOT_OWNER = Shape(403, "Only the owner of this notebook can do that.", "Not allowed", cors=Cors.ANY)
    NOT_INSIDE = Shape(403, "Only the service's own pages, on its main host, can do that.", "Not allowed")
    # Wrong origin or host
    CROSS_SITE = Shape(403, "Cross-origin pages cannot access this notebook.", "Not allowed")
    CROSS_SITE_OWN = Shape(403, "This request must come from one of this service's own pages.", "Not allowed")
    SANDBOXED = Shape(
        403,
        "The page around this frame gives it a sandbox without allow-same-origin, in which no notebook works. Its"
        " author adds allow-same-origin to the frame's sandbox attribute, beside allow-scripts, allow-forms and"
        " allow-popups, or removes the attribute.",
        "No notebook in this frame",
        for_readers="No notebook works in this frame, as the page around it is made. Please tell the page's author.",
        has_home=False,  # it would end here again
    )
    OTHER_ORIGIN = Shape(
        403,
        "This service is probably set up wrongly: the proxy in front of it changes its address."
        " Please tell the people who run it.",
        "Not allowed",
    )
    NO_UPGRADE = Shape(
        400,
        "This WebSocket came without its Upgrade field, so cells cannot run: the proxy in front of the service"
        " removes it, and the service's log tells its operator what to set.",
        "Not allowed",
    )
    WRONG_HOST = Shape(421, "This notebook is served on its own host name.", "Wrong host name", cors=Cors.ANY)
    LOST_HOST = Shape(
        421,
        "This service is set up wrongly: the proxy in front of it changes the notebook's host name. Please tell the"
        " people who run it; the service's log says what to set.",
        "Wrong host name",
    )
    EXPOSED = Shape(
        403,
        "A form may not send a notebook's token in its URL, where the page that answers could read it.",
        "Not allowed",
    )
    PREFETCH = Shape(503, "A prefetch opens no notebook and starts none.", "Not now")
    # This machine's user only
    LOCKED = Shape(
        403,
        "This service is for the person who started it: open the URL that it printed, which ends in a token.",
        "Open the printed URL",
        has_home=False,
    )
    NOT_THIS_MACHINE = Shape(
        421,
        "Notebooks are processes on this machine, so they are served as localhost and 127.0.0.1 only.",
        "Wrong host name",
        has_home=False,
    )
    # Programs and the operator
    TOKEN = Shape(403, "The token is missing or wrong.", "Not allowed")
    OPERATOR_HOST = Shape(
        421,
        "Without ADMIN_AUTH_TOKEN, the admin listener answers only to this machine's own host names.",
        "Wrong host name",
    )
    OPERATOR_ORIGIN = Shape(403, "Cross-origin requests are not allowed here.", "Not allowed")
    # Starts: the launch page, and refusals
    LAUNCH = Shape(200, page="launch")
    NO_DOCUMENT = Shape(
        404,
        "There is no document of that name in the notebooks here. Perhaps it was renamed, or the link has a mistake.",
        page="launch",
    )
    CRAWLER = Shape(
        403,
        "Notebooks here are for people, and your browser looks like an automated program."
        " If you are a person, please press the button.",
        page="launch",
    )
    TICKET = Shape(
        403,
        "This page was open for too long, or your browser blocks its cookies. Please press the button again; if that"
        " does not help, allow cookies for this site.",
        page="launch",
    )
    FRAMED = Shape(
        403,
        "Your browser keeps no cookies for a page inside another site's page, and a notebook needs them.",
        page="framed",
    )
    WRONG_CODE = Shape(403, page="limited", body=WrongCode, cors=Cors.SETTINGS)
    LIMITED = Shape(429, page="limited", body=Limited, cors=Cors.SETTINGS)
    HELD = Shape(429, page="limited", body=Held, cors=Cors.SETTINGS)
    FULL = Shape(429, page="full", body=Full, cors=Cors.SETTINGS)
    WARMING = Shape(503, page="warming", body=Warming, cors=Cors.SETTINGS)
    NO_POOL = Shape(404, "This link names a kind of notebook that is not offered here.", "Not offered here")
    LONG_LINK = Shape(
        414,
        "This link is too long: with the address of a notebook before it, no server has to take it. Its author can"
        " shorten it.",
        "Link too long",
    )
    NO_LINK = Shape(404, "That URL is no launch link of this service.", "Not a launch link")
    NOT_JSON = Shape(501, "Only format=json is offered.", "Not offered")
    NO_STREAM = Shape(
        400, "This URL is an event stream: the request must accept text/event-stream.", "Not a page", cors=Cors.ANY
    )
    PEER_LINK = Shape(
        400,
        "This link cannot be read.",
        "Wrong link",
        for_readers=f"There is a mistake in this link. {_TELL_THE_AUTHOR}",
    )
    REPOSITORY = Shape(
        404,
        "This service has no notebooks for that repository.",
        "Not offered here",
        for_readers=f"This link leads to notebooks that are not offered here. {_TELL_THE_AUTHOR}",
    )
    # Any request
    BAD = Shape(400, NOT_ACCEPTED, "Bad request")
    MISSPELT = Shape(
        400,
        "This URL could be read in two ways: in names, \\ must be written as %5C, # as %23 and % as %25, and neither"
        " . nor .. is a name.",
        "Unclear URL",
        cors=Cors.ANY,
    )
    NOTHING = Shape(404, "There is no page at this URL.", "Page not found", cors=Cors.ANY)
    METHOD = Shape(405, "This URL does not accept this kind of request.", "Method not allowed", cors=Cors.ANY)
    TOO_LARGE = Shape(413, BODY_TOO_LARGE, "Too large")
    FAILED = Shape(
        500, "Something went wrong on our side. It has been logged; please try again.", "Something went wrong"
    )

    @property
    def shape(self) -> Shape:
        return self.value


REFUSED_FOR_ORIGIN = frozenset({Kind.CROSS_SITE, Kind.CROSS_SITE_OWN, Kind.OTHER_ORIGIN, Kind.OPERATOR_ORIGIN})
"""What requests are answered that the same request from a page of another origin would not be."""
