"""Every answer that the service gives instead of a notebook or a page, on one screen. Pure.

A kind says the status, the page for a person and the JSON for a program. ``answers`` renders them.
"""

from dataclasses import dataclass
from enum import Enum

from tmppool.web.models import Body, Error, Foreign, Full, Gone, Limited, Warming, WrongCode


class Cors(Enum):
    """Which pages of other origins may read the JSON."""

    NONE = "none"
    SETTINGS = "settings"  # those of --allow-origin
    ANY = "any"  # it tells nothing, and clients on other pages have to know


@dataclass(frozen=True, slots=True, eq=False)  # each is one kind, also where two say the same
class Form:
    """How one kind is said.

    ``message`` is the sentence, unless the facts hold one. ``page`` is the template, ``title`` the heading of the plain
    one; ``has_home``: it leads back to the start. ``body`` is the JSON, filled from the message and the facts;
    ``for_programs`` is its HTTP status where that differs, ``cors`` says whose pages may read it.
    """

    code: int
    message: str = ""
    title: str = ""
    page: str = "error"
    has_home: bool = True
    body: type[Body] = Error
    for_programs: int | None = None
    cors: Cors = Cors.NONE


class Kind(Enum):
    # A notebook that cannot be had
    GONE = Form(410, page="gone", body=Gone, for_programs=424, cors=Cors.ANY)
    UNKNOWN = Form(404, page="gone", body=Gone, for_programs=424, cors=Cors.ANY)
    FOREIGN = Form(
        403,
        "This notebook belongs to another browser. Its owner can share it; a program has to send its token.",
        page="foreign",
        body=Foreign,
    )
    UNREACHABLE = Form(
        502, "The notebook does not answer. It may be starting again; try once more in a moment.", "No answer"
    )
    NOT_OWNER = Form(403, "Only the owner of this notebook may do that.", "Not allowed")
    # From the wrong place
    CROSS_SITE = Form(403, "A page of another origin may not talk to this notebook.", "Not allowed")
    CROSS_SITE_HERE = Form(403, "This is asked for from this service's own pages only.", "Not allowed")
    WRONG_HOST = Form(421, "A notebook is served at a host name of its own here.", "Not at this address")
    PREFETCH = Form(503, "A prefetch is not answered: this link is opened when a person follows it.", "Not now")
    # This machine's user only
    LOCKED = Form(
        403,
        "This service is for whoever started it: open the URL that ./start-tmpnb printed, which ends in a token.",
        "Open the printed URL",
        has_home=False,
    )
    NOT_THIS_MACHINE = Form(
        421,
        "Notebooks here are processes of this machine, served at its own names only: localhost and 127.0.0.1.",
        "Not at this address",
        has_home=False,
    )
    # The operator's listener
    TOKEN = Form(403, "This needs a token that you did not send.", "Not allowed")
    OPERATOR_HOST = Form(
        421, "Without a token this is answered at this machine's own name only.", "Not at this address"
    )
    OPERATOR_ORIGIN = Form(403, "This is not for pages of other origins.", "Not allowed")
    # A start: the page that offers one, and what refuses it
    LAUNCH = Form(200, page="launch")
    CRAWLER = Form(
        403,
        "Notebooks here are for people, and your browser looks like an automated program."
        " If you are a person, please press the button.",
        page="launch",
    )
    TICKET = Form(
        403,
        "This page was open for too long, or its cookies are blocked. Please press the button again.",
        page="launch",
    )
    WRONG_CODE = Form(403, page="limited", body=WrongCode, cors=Cors.SETTINGS)
    LIMITED = Form(429, page="limited", body=Limited, cors=Cors.SETTINGS)
    FULL = Form(429, page="full", body=Full, cors=Cors.SETTINGS)
    WARMING = Form(503, page="warming", body=Warming, cors=Cors.SETTINGS)
    NO_POOL = Form(404, "This service has no pool of that name.", "Nothing here")
    # Any request
    BAD = Form(400, "This request is not one that this service takes.", "That request made no sense")
    NOTHING = Form(404, "There is no page at this address.", "Nothing here")
    METHOD = Form(405, "This address does not take that kind of request.", "Not this way")
    TOO_LARGE = Form(413, "What was sent is larger than this service takes.", "Too large")
    FAILED = Form(500, "Something failed here. It has been noted; please try again.", "Something failed")

    @property
    def form(self) -> Form:
        return self.value
