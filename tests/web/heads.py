"""Visits made of a request's head alone, as the edge makes them of what arrives."""

from tmppool.proxy.wire import Fields, Request, parse_request
from tmppool.web.visit import PublicAddress, Visit

PEER = "203.0.113.1"
HOST = "nb.example"


def visit(
    target: str = "/",
    fields: dict[str, str] | None = None,
    *,
    method: str = "GET",
    public: PublicAddress | None = None,
    peer: str = PEER,
) -> Visit:
    """Return the visit of a request to nb.example, unless ``fields`` hold another Host."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": HOST, **(fields or {})}.items())
    head = f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
    return Visit(parse_request(head), peer, public or PublicAddress())


def unparsed(target: str = "/", fields: dict[str, str] | None = None) -> Visit:
    """Return the visit of a GET whose target and fields no parser has looked at."""
    said = {name.lower().encode(): value.encode(errors="surrogateescape") for name, value in (fields or {}).items()}
    lines = [(name, name + b":" + value) for name, value in said.items()]
    return Visit(Request(b"GET", target, 1, Fields(lines, said), 0, keeps_alive=True), PEER, PublicAddress())
