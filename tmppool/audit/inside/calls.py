"""Probes of system calls and socket families that a notebook never needs. The errno must match exactly.

For example, EAFNOSUPPORT only means that this kernel lacks a socket family; the filter returns EPERM.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Callable

from tmppool.audit.inside.outcome import error_name, fails

if TYPE_CHECKING:
    from tmppool.audit.inside.outcome import Facts, Outcome, Probe

_X32 = 0x40000000  # flag of x32 system call numbers (Linux, arch/x86/include/uapi/asm/unistd.h)
_GETPID = 39
# mov eax, 20; int 0x80; ret: getpid in the 32-bit ABI.
_GETPID_32 = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
_USABLE = {"unix": socket.AF_UNIX, "inet": socket.AF_INET, "netlink": socket.AF_NETLINK}


def probes(facts: Facts) -> list[Probe]:
    machine = platform.machine()
    return [
        *(
            (f"call-{name}", partial(_refused, [numbers[machine], *arguments], errors))
            for name, numbers, arguments, errors in facts["calls"]
            if machine in numbers
        ),
        *([("call-32-bit", partial(_foreign, _call_32_bit))] if machine == "x86_64" else []),
        *([("call-x32", partial(_foreign, partial(_call, [_X32 | _GETPID])))] if machine == "x86_64" else []),
        *((f"socket-{name}", partial(fails, _open, tuple(words), "EPERM")) for name, words in facts["sockets"]),
        *((f"socket-{name}-works", partial(_opens, family)) for name, family in _USABLE.items()),
    ]


def _refused(words: list[int], errors: list[str]) -> Outcome:
    number = _in_child(partial(_call, words))
    if number < 0:
        return True, signal.Signals(-number).name
    return error_name(number) in errors, error_name(number) if number else "it worked"


def _foreign(action: Callable[[], int]) -> Outcome:
    """Hold if a call of a foreign ABI, whose numbers mean other calls to a filter, fails."""
    number = _in_child(action)
    if number < 0:
        return -number in (signal.SIGSYS, signal.SIGSEGV), signal.Signals(-number).name
    return error_name(number) in ("ENOSYS", "EPERM"), error_name(number) if number else "it worked"


def _in_child(action: Callable[[], int]) -> int:
    """Run the action in a child process; return its result, or minus the signal that killed it.

    An action that unexpectedly works then does not affect the next probe.
    """
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(action())
        finally:
            os._exit(255)
    _, status = os.waitpid(pid, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _call(words: list[int]) -> int:
    """Make a system call by number; return its errno, 0 on success."""
    result = ctypes.CDLL(None, use_errno=True).syscall(*(ctypes.c_long(word) for word in words))
    return ctypes.get_errno() if result == -1 else 0


def _call_32_bit() -> int:
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(_GETPID_32)
    result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()
    return -int(result) if result < 0 else 0


def _open(*words: int) -> None:
    socket.socket(*words).close()


def _opens(family: int) -> Outcome:
    failed, seen = fails(_open, (family, socket.SOCK_DGRAM))
    return not failed, seen
