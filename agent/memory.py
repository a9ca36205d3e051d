"""Gives the memory of ended sessions back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Collect garbage, and let the C library return what is free (malloc_trim(3), where it is glibc).

    aiortc's connections are cycles, and freed pictures stay in pieces in the arenas of their threads: a
    desktop of 1280x720 had 126 MB after 25 sessions instead of 114. Takes some ms.
    """
    gc.collect()
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
