"""Capture of one monitor by DXGI's Desktop Duplication: Windows says when the picture changed, and where.

FFmpeg's ddagrab is beside it, not before it: docs/windows.md says why. What is lost with a UAC prompt, the lock
screen, another resolution or graphics card is SourceChanged; while it cannot be had again, GDI shows the screen
(agent/capture/stand_in.py). Not yet run on a graphics card.
"""

from __future__ import annotations

import sys
from typing import ClassVar, Final

from agent.capture.base import EVERY_MONITOR, CaptureUnavailable

if sys.platform != "win32":
    raise ImportError("agent.capture.dxgi is for Windows")

from agent.capture.copied import CopiedCapture, Refusals, begun
from agent.capture.duplication import Duplication, Library
from agent.capture.gdi import monitor_wanted
from agent.probe import why_not
from agent.win32 import follow_input_desktop, use_real_pixels

REFUSALS: Final = Refusals(
    "the screen cannot be duplicated",
    "this Windows has no Direct3D 11",
    passing={
        0x80070005: "Windows shows its lock screen or asks for consent",  # E_ACCESSDENIED
        0x00000080: "the graphics card let go of it",  # WAIT_ABANDONED
        0x887A0001: "the graphics card let go of it",  # DXGI_ERROR_INVALID_CALL
        0x887A0005: "the graphics card was taken out, or its driver updated",  # DEVICE_REMOVED
        0x887A0007: "the graphics card's driver broke down",  # DEVICE_RESET
        0x887A0022: "four programs capture this monitor, which is as many as may",  # NOT_CURRENTLY_AVAILABLE
        0x887A0025: "the resolution changes",  # MODE_CHANGE_IN_PROGRESS
        0x887A0026: "the resolution changed, or Windows asks for consent",  # ACCESS_LOST
        0x887A0028: "this session is not at the screen",  # SESSION_DISCONNECTED
    },
    lasting={
        0x80004001: "this Windows does not have it (Wine does not)",  # E_NOTIMPL
        0x80004002: "it needs Windows 8 or newer",  # E_NOINTERFACE
        0x80070057: "the graphics card of this monitor does not do it",  # E_INVALIDARG
        0x8007000E: "the graphics card has no memory left",  # E_OUTOFMEMORY
        0x887A0004: "the driver does not have it, or on a notebook with two graphics cards Windows runs"
        " this program on the other one: Settings, Display, Graphics",  # DXGI_ERROR_UNSUPPORTED
    },
)
"""The HRESULTs that the documentation of DuplicateOutput, AcquireNextFrame and ReleaseFrame names."""


class DxgiCapture(CopiedCapture):
    """One monitor. Constructing it raises CaptureUnavailable in words, as NotNow where that will end."""

    name: ClassVar[str] = "dxgi"
    refusals: ClassVar[Refusals] = REFUSALS

    def __init__(
        self, fps: int = 60, *, monitor: str | None = None, library: Library | None = None
    ) -> None:
        use_real_pixels()
        follow_input_desktop()
        scene, place = monitor_wanted(monitor)
        super().__init__(fps, duplicate(library, scene.shown), scene, place)

    @classmethod
    def probe(cls) -> str | None:
        """None when the primary monitor can be duplicated now, else why not in words."""
        return why_not(cls, CaptureUnavailable)


def duplicate(library: Library | None, name: str) -> Duplication:
    """A duplication whose first picture is there. Raises CaptureUnavailable."""
    if name == EVERY_MONITOR:
        raise CaptureUnavailable("a duplication is of one monitor, not of all of them")
    return begun(
        lambda: Duplication(library or Library.of_windows(), name),
        REFUSALS,
        f"the monitor {name} gives no picture: is it asleep?",
    )
