"""Talks to fake_wgc.dll (tests/windows/fake_wgc.c): what comes next, and what was done wrongly."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    raise ImportError("for Windows")

from agent.capture.graphics_capture import Library
from tests.windows.inside.fake_dxgi import Step

_dll: Final = ctypes.WinDLL(str(Path(sys.executable).with_name("fake_wgc.dll")))
_dll.fake_wgc_count.restype = ctypes.c_int64
LIBRARY: Final = Library.of(_dll, _dll)
_DIRECT3D: Final = ("objects", "mistakes", "held", "mapped", "copies")
_CAPTURE: Final = (
    "running", "initialised", "strings", "handlers", "open", "cursor", "border", "of_window", "handle",
)  # fmt: skip


def reset(*, first: bool = True) -> None:
    """A source of fake_dxgi's WIDTH by HEIGHT; with a first picture, which is black."""
    _dll.fake_wgc_reset()
    if first:
        present(0xFF000000)


def fail(factory: int = 0, item: int = 0, *, supported: bool = True, old: bool = False) -> None:
    """What opening gives from now on, as HRESULTs without a sign; an old Windows knows no later interfaces."""
    _dll.fake_wgc_fail(
        ctypes.c_long(factory), ctypes.c_long(item), wintypes.LONG(supported), wintypes.LONG(old)
    )


def present(colour: int, *, wrong: bool = False) -> None:
    """Then it has this colour, and says so, on this thread."""
    step = Step(presented=1, colour=colour, wrong_format=wrong)
    _dll.fake_wgc_present(ctypes.byref(step))


def refuse(result: int) -> None:
    """Then TryGetNextFrame gives this HRESULT."""
    _dll.fake_wgc_present(ctypes.byref(Step(acquired=ctypes.c_long(result).value)))


def resize(width: int, height: int) -> None:
    """Pictures are of this size from now on."""
    _dll.fake_wgc_resize(wintypes.LONG(width), wintypes.LONG(height))


def close() -> None:
    """It is gone, and says so."""
    _dll.fake_wgc_close()


def counts() -> dict[str, int]:
    """Objects alive, mistakes, memory mapped, copies; whether it runs, what was not given back, what was set."""
    told = {name: int(_dll.fake_count(number)) for number, name in enumerate(_DIRECT3D)}
    more = {name: int(_dll.fake_wgc_count(number)) for number, name in enumerate(_CAPTURE)}
    return told | more
