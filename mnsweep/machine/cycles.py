"""Count the processor's cycles of this process by `perf_event_open`, where the system permits it (Linux, mostly bare metal).

Cycles do not depend on the clock's frequency: a run that takes longer at the same number of cycles ran on a slower clock.
No maintained library is small enough to depend on for one system call.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

SYSCALLS = {"x86_64": 298, "aarch64": 241}
HARDWARE, CPU_CYCLES = 0, 0
INHERIT, EXCLUDE_KERNEL, EXCLUDE_HYPERVISOR = 1 << 1, 1 << 5, 1 << 6
ATTRIBUTE_BYTES = 112  # PERF_ATTR_SIZE_VER5
NO_COUNTER = "the processor has no cycle counter for us: most virtual machines hide it"


class CycleCounter:
    """Cycles in user space of this process and of the threads that it starts later.

    Raises `OSError`, with the reason as its text, where they cannot be counted.
    """

    def __init__(self) -> None:
        number = SYSCALLS.get(platform.machine()) if sys.platform == "linux" else None
        if number is None:
            raise OSError("cycles are counted on Linux x86-64 and ARM64 only")
        attributes = struct.pack(
            "IIQQQQQ", HARDWARE, ATTRIBUTE_BYTES, CPU_CYCLES, 0, 0, 0, INHERIT | EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR
        )
        buffer = ctypes.create_string_buffer(attributes, ATTRIBUTE_BYTES)
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.syscall(number, buffer, 0, -1, -1, 0)
        if self.fd < 0:
            raise OSError(_reason(ctypes.get_errno()))

    def read(self) -> float | None:
        """Cycles since the start; None if they can't be read any more."""
        try:
            return float(struct.unpack("Q", os.read(self.fd, 8))[0])
        except (OSError, struct.error):
            return None


def _reason(code: int) -> str:
    if code in (errno.EACCES, errno.EPERM):
        return "counting cycles is not permitted: sudo sysctl kernel.perf_event_paranoid=2"
    if code in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
        return NO_COUNTER
    return f"cycles can't be counted: {os.strerror(code)}"
