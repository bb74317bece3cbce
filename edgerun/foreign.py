"""What macOS and Windows say of cores and memory, as `machine.py` asks it. Knows no /proc and no control group.

Each function answers None where the system is another one, or does not tell. All of it goes through ctypes: `sysctlbyname` and
`host_statistics64` of macOS; kernel32 of Windows (processthreadsapi.h, sysinfoapi.h, psapi.h).
"""

from __future__ import annotations

import ctypes
import struct
import sys
from typing import Any

SYSTEM: str = sys.platform
_PROCESSOR_CORE = 0      # RelationProcessorCore
_VM_INFO, _VM_INFO_WORDS = 4, 38   # HOST_VM_INFO64


def cpus() -> int | None:
    """Logical CPUs that this process may run on, as its affinity mask says (Windows)."""
    if SYSTEM != "win32" or not (kernel := _kernel32()):
        return None
    ours, all_of_them = ctypes.c_size_t(), ctypes.c_size_t()
    if not kernel.GetProcessAffinityMask(ctypes.c_void_p(-1), ctypes.byref(ours), ctypes.byref(all_of_them)):
        return None
    return ours.value.bit_count() or None   # 0: the process runs on more than 64 CPUs


def fast_cores() -> int | None:
    """Physical cores, efficiency cores left out."""
    if SYSTEM == "darwin":
        return _sysctl("hw.perflevel0.physicalcpu") or _sysctl("hw.physicalcpu")
    if SYSTEM == "win32" and (kernel := _kernel32()):
        return count_fast(_core_records(kernel))
    return None


def free_memory() -> int | None:
    """Bytes that can be had without pushing anything out."""
    if SYSTEM == "darwin":
        return _darwin_free()
    if SYSTEM == "win32" and (kernel := _kernel32()):
        status = struct.pack("<II7Q", 64, 0, *[0] * 7)   # MEMORYSTATUSEX: length, load, total and free physical memory, ...
        buffer = ctypes.create_string_buffer(status, len(status))
        return struct.unpack_from("<Q", buffer.raw, 16)[0] if kernel.GlobalMemoryStatusEx(buffer) else None
    return None


def peak_memory() -> int | None:
    """Most bytes this process has had resident at once (Windows; elsewhere there is `resource`)."""
    if SYSTEM != "win32" or not (kernel := _kernel32()):
        return None
    counters = struct.pack("<II8Q", 72, 0, *[0] * 8)   # PROCESS_MEMORY_COUNTERS: length, faults, peak working set, ...
    buffer = ctypes.create_string_buffer(counters, len(counters))
    found = kernel.K32GetProcessMemoryInfo(ctypes.c_void_p(-1), buffer, len(counters))
    return struct.unpack_from("<Q", buffer.raw, 8)[0] if found else None


def yield_address() -> int:
    """Address of a C function without arguments that lets another thread have this core."""
    if SYSTEM == "win32" and (kernel := _kernel32()):
        function = kernel.SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def pread_address() -> int:
    """Address of POSIX's pread, 0 where there is none with 64 bits of offset."""
    if SYSTEM == "win32" or ctypes.sizeof(ctypes.c_long) != 8:
        return 0
    return ctypes.cast(ctypes.CDLL(None).pread, ctypes.c_void_p).value or 0


def count_fast(records: bytes) -> int | None:
    """Cores of the highest efficiency class among SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX records.

    A record: relationship u32, its bytes u32, flags u8, efficiency class u8, ...; one for each physical core.
    """
    classes, at = [], 0
    while at + 10 <= len(records):
        relation, size = struct.unpack_from("<II", records, at)
        if relation == _PROCESSOR_CORE:
            classes.append(records[at + 9])
        if size < 10:
            break
        at += size
    return classes.count(max(classes)) if classes else None


def _core_records(kernel: Any) -> bytes:
    needed = ctypes.c_uint32()
    kernel.GetLogicalProcessorInformationEx(_PROCESSOR_CORE, None, ctypes.byref(needed))
    buffer = ctypes.create_string_buffer(needed.value)
    found = kernel.GetLogicalProcessorInformationEx(_PROCESSOR_CORE, buffer, ctypes.byref(needed))
    return buffer.raw[: needed.value] if found else b""


def _darwin_free() -> int | None:
    """Free, speculative and inactive pages, which macOS gives away when asked."""
    libc, page = ctypes.CDLL(None), _sysctl("hw.pagesize")
    words, count = (ctypes.c_uint32 * _VM_INFO_WORDS)(), ctypes.c_uint32(_VM_INFO_WORDS)
    if not page or libc.host_statistics64(libc.mach_host_self(), _VM_INFO, words, ctypes.byref(count)):
        return None
    return page * (words[0] + words[2])   # free_count, which counts the speculative ones too; inactive_count


def _sysctl(name: str) -> int | None:
    """A whole number of macOS's, 4 or 8 bytes."""
    value, size = ctypes.c_uint64(), ctypes.c_size_t(8)
    failed = ctypes.CDLL(None).sysctlbyname(name.encode(), ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0))
    return value.value or None if not failed else None


def _kernel32() -> Any:
    load = getattr(ctypes, "WinDLL", None)
    return load("kernel32", use_last_error=True) if load else None
