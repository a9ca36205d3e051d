"""Talks to fake_dxgi.dll (tests/windows/fake_dxgi.c): what comes next, and what was done wrongly."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    raise ImportError("for Windows")

from agent.capture.base import Box
from agent.capture.duplication import Library

WIDTH, HEIGHT = 64, 48
MAX_RECTS: Final = 8
_dll: Final = ctypes.WinDLL(str(Path(sys.executable).with_name("fake_dxgi.dll")))
LIBRARY: Final = Library.of(_dll, _dll)
COUNTS: Final = ("objects", "mistakes", "held", "mapped", "copies")


class _Move(ctypes.Structure):
    _fields_ = (("source", wintypes.POINT), ("into", wintypes.RECT))


class Step(ctypes.Structure):
    """What comes next, as fake_dxgi.c has it."""

    _fields_ = (
        ("acquired", ctypes.c_long),
        ("released", ctypes.c_long),
        ("presented", wintypes.LONG),
        ("pointer", wintypes.LONG),
        ("rects", wintypes.LONG),
        ("moves", wintypes.LONG),
        ("rect", wintypes.RECT * MAX_RECTS),
        ("move", _Move * MAX_RECTS),
        ("colour", wintypes.DWORD),
        ("wrong_format", wintypes.LONG),
    )


def reset(name: str = "DISPLAY1", *, first: bool = True) -> None:
    """A desktop of WIDTH by HEIGHT on this monitor; with a first picture, which is black."""
    _dll.fake_reset(f"\\\\.\\{name}")
    if first:
        present(0xFF000000)


def fail(duplicate: int = 0, device: int = 0, rotation: int = 1) -> None:
    """What opening gives from now on, as HRESULTs without a sign."""
    _dll.fake_fail(ctypes.c_long(duplicate), ctypes.c_long(device), wintypes.DWORD(rotation))


def present(
    colour: int, dirty: tuple[Box, ...] = (), moved: tuple[Box, ...] = (), *, wrong: bool = False
) -> None:
    """Then the desktop has this colour; what is said to have changed may be less than all of it."""
    step = Step(presented=1, rects=len(dirty), moves=len(moved), colour=colour, wrong_format=wrong)
    for number, box in enumerate(dirty):
        step.rect[number] = wintypes.RECT(box.left, box.top, box.right, box.bottom)
    for number, box in enumerate(moved):
        step.move[number].into = wintypes.RECT(box.left, box.top, box.right, box.bottom)
    _dll.fake_step(ctypes.byref(step))


def move_pointer() -> None:
    """Then the pointer alone has moved."""
    _dll.fake_step(ctypes.byref(Step(pointer=1)))


def refuse(result: int) -> None:
    """Then AcquireNextFrame gives this HRESULT."""
    _dll.fake_step(ctypes.byref(Step(acquired=ctypes.c_long(result).value)))


def present_and_lose(colour: int, result: int) -> None:
    """A picture whose release gives this HRESULT."""
    _dll.fake_step(
        ctypes.byref(Step(presented=1, colour=colour, released=ctypes.c_long(result).value))
    )


def counts() -> dict[str, int]:
    """Of COUNTS: objects alive, mistakes made, frames held, memory mapped, copies done."""
    return {name: _dll.fake_count(number) for number, name in enumerate(COUNTS)}


def copied() -> Box:
    """What the last copy was of."""
    place = wintypes.RECT()
    _dll.fake_copied(ctypes.byref(place))
    return Box(place.left, place.top, place.right, place.bottom)
