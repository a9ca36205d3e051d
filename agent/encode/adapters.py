"""Whose graphics cards this machine has, so that no driver is loaded in vain: PCI vendor ids in lower case."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path
from typing import Final

VENDORS: Final = {"10de": "NVIDIA", "1002": "AMD", "8086": "Intel"}
DISPLAY_CLASS: Final = "0x03"
"""PCI base class 03h: display controllers (PCI Code and ID Assignment Specification 1.4)."""
MAX_ADAPTERS: Final = 64


def why_absent(vendor: str) -> str | None:
    """None when a graphics card of this vendor is here, else so in words."""
    if vendor in vendors():
        return None
    return f"no graphics card of {VENDORS[vendor]} (PCI vendor {vendor}) is in this machine"


def vendors() -> frozenset[str]:
    """The vendors of all display controllers; empty where they cannot be told."""
    return _windows() if sys.platform == "win32" else _linux(Path("/sys/bus/pci/devices"))


def _linux(devices: Path) -> frozenset[str]:
    found: set[str] = set()
    for device in devices.glob("*"):
        try:
            if (device / "class").read_text().startswith(DISPLAY_CLASS):
                found.add((device / "vendor").read_text().strip().removeprefix("0x").lower())
        except OSError:
            continue  # taken out meanwhile
    return frozenset(found)


def _windows() -> frozenset[str]:
    """By EnumDisplayDevicesW, whose DeviceID begins with `PCI\\VEN_10DE&DEV_...`."""
    if sys.platform != "win32":
        return frozenset()

    class DisplayDevice(ctypes.Structure):
        """DISPLAY_DEVICEW of wingdi.h."""

        _fields_ = (
            ("cb", ctypes.c_uint32),
            ("DeviceName", ctypes.c_wchar * 32),
            ("DeviceString", ctypes.c_wchar * 128),
            ("StateFlags", ctypes.c_uint32),
            ("DeviceID", ctypes.c_wchar * 128),
            ("DeviceKey", ctypes.c_wchar * 128),
        )

    found: set[str] = set()
    for number in range(MAX_ADAPTERS):
        device = DisplayDevice(cb=ctypes.sizeof(DisplayDevice))
        if not ctypes.windll.user32.EnumDisplayDevicesW(None, number, ctypes.byref(device), 0):
            break
        if match := re.match(r"PCI\\VEN_([0-9A-F]{4})", device.DeviceID, re.IGNORECASE):
            found.add(match[1].lower())
    return frozenset(found)
