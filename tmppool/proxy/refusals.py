"""The answer to each kind of fault: plain text, which reflects nothing of what was sent, and the connection ends.

These answer a connection that has not made a request to which a page could respond, or whose message is at fault.
Every other answer of the service is in ``tmppool.web.kinds``.
"""

from http import HTTPStatus

from tmppool.proxy.faults import Fault
from tmppool.proxy.target import MAX_TARGET
from tmppool.proxy.wire import date_line

NOT_ACCEPTED = "This service does not accept this request."
BODY_TOO_LARGE = "The body of this request is too large."

REFUSALS: dict[Fault, tuple[HTTPStatus, str]] = {
    Fault.MALFORMED_HEAD: (HTTPStatus.BAD_REQUEST, NOT_ACCEPTED),
    Fault.PROXY_PROTOCOL: (HTTPStatus.BAD_REQUEST, "This service does not read the PROXY protocol."),
    Fault.MALFORMED_BODY: (HTTPStatus.BAD_REQUEST, "The body of this request is not valid HTTP."),
    Fault.TARGET_TOO_LONG: (
        HTTPStatus.REQUEST_URI_TOO_LONG,
        f"This link is too long. {MAX_TARGET} bytes are allowed.",
    ),
    Fault.HEAD_TOO_LONG: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The headers of this request are too long.",
    ),
    Fault.BODY_TOO_LARGE: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, BODY_TOO_LARGE),
    Fault.BODY_TOO_SLOW: (HTTPStatus.REQUEST_TIMEOUT, "The body of this request arrived too slowly."),
    Fault.UNKNOWN_EXPECTATION: (HTTPStatus.EXPECTATION_FAILED, NOT_ACCEPTED),
    Fault.LOOP: (HTTPStatus.LOOP_DETECTED, NOT_ACCEPTED),
    Fault.SERVICE_WORKER: (HTTPStatus.FORBIDDEN, NOT_ACCEPTED),
    Fault.NO_RESPONSE: (HTTPStatus.BAD_GATEWAY, "The notebook is not responding."),
    Fault.TOO_MANY_FROM_ADDRESS: (
        HTTPStatus.TOO_MANY_REQUESTS,
        "Too many connections from your address. Please try again in a minute.",
    ),
    Fault.TOO_MANY_CONNECTIONS: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Too many visitors right now. Please try again in a minute.",
    ),
}
"""The status and the sentence for each fault (RFC 9110 section 15; RFC 6585 for 429 and 431; RFC 5842 for 508)."""

_RETRY_AFTER = {Fault.TOO_MANY_FROM_ADDRESS: 60, Fault.TOO_MANY_CONNECTIONS: 60}  # seconds


def refusal(fault: Fault) -> bytes:
    """Return a whole response that ends the connection; a page of any origin may read it, as a program can."""
    status, text = REFUSALS[fault]
    body = f"{text}\n".encode()
    retry = b"Retry-After: %d\r\n" % _RETRY_AFTER[fault] if fault in _RETRY_AFTER else b""
    return (
        b"HTTP/1.1 %d %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
        b"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nAccess-Control-Allow-Origin: *\r\n"
        b"%b%b\r\nConnection: close\r\n\r\n%b" % (status, status.phrase.encode(), len(body), retry, date_line(), body)
    )
