"""What the media process, which takes in what browsers send, gives up for good: Windows's process mitigations.

Windows alone; not yet run on real Windows, and Wine has none of them.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from ctypes import wintypes
from typing import Final

if sys.platform != "win32":
    raise ImportError("agent.mitigations is for Windows")

from agent.win32 import is_system, kernel32, last_error

logger = logging.getLogger(__name__)

# PROCESS_MITIGATION_POLICY of winnt.h, and the bits of each
_EXTENSION_POINTS: Final = 6
_FONTS: Final = 9
_IMAGES: Final = 10
_CHILDREN: Final = 13
_DISABLE: Final = 1
_NO_REMOTE_IMAGES: Final = 1
_NO_LOW_LABEL_IMAGES: Final = 2

kernel32.SetProcessMitigationPolicy.argtypes = [
    ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t,
]  # fmt: skip


def apply() -> None:
    """No programs are started, no libraries loaded that hooks bring or that anybody can write, no fonts but Windows's.

    Code that is made at run time stays allowed: graphics drivers make some, and so does ctypes for its
    callbacks. What this Windows refuses is logged.
    """
    images = _NO_LOW_LABEL_IMAGES
    if is_system():  # a user may run Python from a network share
        images |= _NO_REMOTE_IMAGES
    for policy, bits, words in (
        (_CHILDREN, _DISABLE, "start programs"),
        (_EXTENSION_POINTS, _DISABLE, "load extensions"),
        (_IMAGES, images, "load libraries from where anybody can write"),
        (_FONTS, _DISABLE, "load other fonts than Windows's"),
    ):
        flags = wintypes.DWORD(bits)
        if not kernel32.SetProcessMitigationPolicy(
            policy, ctypes.byref(flags), ctypes.sizeof(flags)
        ):
            logger.warning("the media process still may %s: %s", words, last_error())
