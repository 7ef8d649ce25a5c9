"""Filters of a process' own system calls (Linux: seccomp)."""

from __future__ import annotations

import ctypes
import platform
import struct

GETRUSAGE = {"x86_64": 98, "aarch64": 165}
"""The number of that system call (Linux: arch/x86/entry/syscalls, asm-generic/unistd.h)."""
DENY = 0x00050001  # SECCOMP_RET_ERRNO with EPERM
FAKE = 0x00050000  # returns 0 and fills in nothing
ALLOW = 0x7FFF0000


def filter_getrusage(action: int) -> None:
    """Have the kernel answer every later getrusage of this process with ``action``.

    Raises :class:`PermissionError` where that is not allowed.
    """
    program = b"".join(
        struct.pack("HBBI", code, yes, no, value)
        for code, yes, no, value in (
            (0x20, 0, 0, 0),  # load the number of the call
            (0x15, 0, 1, GETRUSAGE[platform.machine()]),  # is it that one?
            (0x06, 0, 0, action),
            (0x06, 0, 0, ALLOW),
        )
    )
    code = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    fprog = ctypes.create_string_buffer(header)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.addressof(fprog), 0, 0):
        raise PermissionError(ctypes.get_errno(), "this process may not filter its system calls")
