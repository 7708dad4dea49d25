"""The answer to each kind of fault: whole, final, and without a byte of what was sent."""

import pytest

from tmppool.proxy.faults import Fault
from tmppool.proxy.refusals import REFUSALS, refusal

LATER = {Fault.TOO_MANY_FROM_ADDRESS, Fault.TOO_MANY_CONNECTIONS}


def test_every_fault_has_its_answer() -> None:
    assert set(REFUSALS) == set(Fault)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.MALFORMED_HEAD, 400),
        (Fault.PROXY_PROTOCOL, 400),
        (Fault.MALFORMED_BODY, 400),
        (Fault.TARGET_TOO_LONG, 414),
        (Fault.HEAD_TOO_LONG, 431),
        (Fault.BODY_TOO_LARGE, 413),
        (Fault.BODY_TOO_SLOW, 408),
        (Fault.UNKNOWN_EXPECTATION, 417),
        (Fault.LOOP, 508),
        (Fault.SERVICE_WORKER, 403),
        (Fault.NO_RESPONSE, 502),
        (Fault.TOO_MANY_FROM_ADDRESS, 429),
        (Fault.TOO_MANY_CONNECTIONS, 503),
    ],
)
def test_a_refusal_is_a_whole_answer_that_ends_the_connection(fault: Fault, status: int) -> None:
    head, _, body = refusal(fault).partition(b"\r\n\r\n")
    start, *lines = head.decode().split("\r\n")
    assert start.startswith(f"HTTP/1.1 {status} ")
    assert {
        "Content-Type: text/plain; charset=utf-8",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        f"Content-Length: {len(body)}",
        "Connection: close",
    } <= set(lines)
    assert ("Retry-After: 60" in lines) == (fault in LATER)
    assert body == f"{REFUSALS[fault][1]}\n".encode()
