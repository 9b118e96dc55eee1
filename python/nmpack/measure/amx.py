# SPDX-License-Identifier: BSD-3-Clause
"""Measure as on a processor without AMX, in any runtime, on one that has it.

Linux gives a process tile registers only when it asks (``arch_prctl``, request
``ARCH_REQ_XCOMP_PERM``; Documentation/arch/x86/xstate.rst). XNNPACK, oneDNN and ONNX Runtime all
ask, and take their next best kernels where they are refused.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from nmpack.errors import NmpackError

_PR_SET_NO_NEW_PRIVS = 38
_SYS_SECCOMP = 317
_SECCOMP_SET_MODE_FILTER = 1
#: For the threads that there are, too; and without the second one some versions of Linux make loads
#: of filtered processes slower. Old ones do not know it.
_FLAGS = (1 << 0 | 1 << 2, 1 << 0)
_AUDIT_ARCH_X86_64 = 0xC000003E
_SYS_ARCH_PRCTL = 158
_ARCH_REQ_XCOMP_PERM = 0x1023
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
#: Operations of the filter's machine: load a word, jump where it is equal, end.
_LOAD, _JUMP_IF_EQUAL, _END = 0x20, 0x15, 0x06
#: Where the system call's number, the architecture and the low half of the first argument are.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16

_denied = False


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def deny_amx() -> None:
    """Refuse AMX to this process from now on, and to all that it starts.

    There is no way back. A runtime that has asked already keeps what it was given.

    Raises:
        NmpackError: the processor is no x86-64 one, or Linux refuses the filter.
    """
    global _denied
    if platform.machine() != "x86_64":
        raise NmpackError(f"AMX is of x86-64 processors, got {platform.machine()}")
    end = 7
    instructions = b"".join(
        # Operation, how many to skip where it is equal and where not, operand.
        struct.pack("HBBI", *line)
        for line in (
            (_LOAD, 0, 0, _ARCHITECTURE),
            (_JUMP_IF_EQUAL, 0, end - 2, _AUDIT_ARCH_X86_64),
            (_LOAD, 0, 0, _NUMBER),
            (_JUMP_IF_EQUAL, 0, end - 4, _SYS_ARCH_PRCTL),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_JUMP_IF_EQUAL, 0, end - 6, _ARCH_REQ_XCOMP_PERM),
            (_END, 0, 0, _REFUSE),
            (_END, 0, 0, _ALLOW),
        )
    )
    text = ctypes.create_string_buffer(instructions, len(instructions))
    program = _Program(len(instructions) // 8, ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or all(
        libc.syscall(_SYS_SECCOMP, _SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(program)) != 0
        for flags in _FLAGS
    ):
        raise NmpackError(f"Linux refuses to hide AMX: {os.strerror(ctypes.get_errno())}")
    _denied = True


def is_amx_denied() -> bool:
    """Tell whether :func:`deny_amx` was called."""
    return _denied
