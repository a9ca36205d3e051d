"""Gives memory that nobody needs for now back to the system: after the start, and after the last session."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from pathlib import Path
from typing import Final

MAPPING: Final = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \d+ +/.*\n((?:\w+:.*\n)+)", re.M
)
"""Of proc_pid_smaps(5): what is mapped of a file, privately and not to be written."""
CHANGED: Final = re.compile(r"^(?:Anonymous|Swap|Locked): +[1-9]", re.M)
MADV_DONTNEED: Final = 4


def give_back() -> None:
    """Collect garbage, and let the C library return what is free (malloc_trim(3), where it is glibc).

    aiortc's connections are cycles, and freed pictures stay in pieces in the arenas of their threads: a
    desktop of 1280x720 had 126 MB after 25 sessions instead of 114. Takes some ms. Call it when no other
    thread loads libraries.
    """
    gc.collect()
    if sys.platform == "linux":
        if hasattr(library := ctypes.CDLL(None), "malloc_trim"):
            library.malloc_trim(0)
        _give_libraries_back()


def _give_libraries_back() -> None:
    """Unmap the pages of programs and libraries until they are read again (madvise(2), MADV_DONTNEED).

    Loading a library touches most of it, 40 MB of ours, of which a host at rest needs little. The system's file cache
    keeps them: the next session takes them from there in a hundred page faults, less than 1 ms. Pages of our own, as
    those with relocated addresses are, would be lost: mappings with any are left alone.
    """
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for first, last, counts in MAPPING.findall(Path("/proc/self/smaps").read_text()):
        if not CHANGED.search(counts):
            start = int(first, 16)
            madvise(start, int(last, 16) - start, MADV_DONTNEED)
