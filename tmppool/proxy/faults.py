"""The kinds of fault for which a connection is refused. ``refusals`` knows what each is answered with."""

from enum import Enum, auto


class Fault(Enum):
    """One kind of fault, of a visitor's message, of the notebook's response, or of the moment."""

    MALFORMED_HEAD = auto()  # or ambiguous
    PROXY_PROTOCOL = auto()  # before the head; of a proxy in front that is told to send it
    MALFORMED_BODY = auto()
    TARGET_TOO_LONG = auto()
    HEAD_TOO_LONG = auto()
    BODY_TOO_LARGE = auto()
    BODY_TOO_SLOW = auto()
    UNKNOWN_EXPECTATION = auto()
    LOOP = auto()  # the request has been here before
    SERVICE_WORKER = auto()  # asked for where none may be
    NO_RESPONSE = auto()  # of the notebook
    TOO_MANY_FROM_ADDRESS = auto()
    TOO_MANY_CONNECTIONS = auto()
