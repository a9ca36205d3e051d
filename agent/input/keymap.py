"""Which Linux key a USB HID usage of page 0x07 is: the last table that a key press passes on its way to X.

The browser sends physical keys and the host's own layout decides the character. Source: HID Usage
Tables 1.5 section 10 against input-event-codes.h, in the order of the kernel's hid-input.c.
"""

from __future__ import annotations

from typing import Final

X_KEYCODE_OFFSET: Final = 8
"""X keycodes begin at 8; the evdev rules of XKB number a key evdev + 8."""

# First usage of each run, then the evdev codes of the usages that follow it without a gap.
_RUNS: Final[tuple[tuple[int, tuple[int, ...]], ...]] = (
    (0x04, (30, 48, 46, 32, 18, 33, 34, 35, 23, 36, 37, 38, 50)),  # a to m
    (0x11, (49, 24, 25, 16, 19, 31, 20, 22, 47, 17, 45, 21, 44)),  # n to z
    (0x1E, (2, 3, 4, 5, 6, 7, 8, 9, 10, 11)),  # 1 to 0
    (0x28, (28, 1, 14, 15, 57)),  # enter, escape, backspace, tab, space
    (0x2D, (12, 13, 26, 27, 43, 43, 39, 40, 41, 51, 52, 53, 58)),  # minus to caps lock
    (0x3A, (59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 87, 88)),  # f1 to f12
    (0x46, (99, 70, 119)),  # print screen, scroll lock, pause
    (0x49, (110, 102, 104, 111, 107, 109, 106, 105, 108, 103)),  # insert to the arrows
    (0x53, (69, 98, 55, 74, 78, 96)),  # num lock, keypad / * - + enter
    (0x59, (79, 80, 81, 75, 76, 77, 71, 72, 73, 82, 83)),  # keypad 1 to 0, point
    (0x64, (86, 127, 116, 117)),  # the key beside left shift, menu, power, keypad =
    (0x68, (183, 184, 185, 186, 187, 188, 189, 190, 191, 192, 193, 194)),  # f13 to f24
    (0x74, (134, 138, 130, 132, 128, 129, 131, 137, 133, 135, 136)),  # open to find
    (0x7F, (113, 115, 114)),  # mute, volume up, volume down
    (0x85, (121,)),  # keypad comma
    (0x87, (89, 93, 124, 92, 94, 95)),  # international 1 to 6
    (0x90, (122, 123, 90, 91, 85)),  # language 1 to 5
    (0xB6, (179, 180)),  # keypad ( )
    (0xD7, (118,)),  # keypad plus/minus
    (0xE0, (29, 42, 56, 125, 97, 54, 100, 126)),  # the eight modifiers
)

EVDEV_OF_USAGE: Final[dict[int, int]] = {
    first + offset: code for first, codes in _RUNS for offset, code in enumerate(codes)
}


def x_keycode(usage: int) -> int | None:
    """The X keycode (8..255) of a usage, or None for a key that X does not know."""
    evdev = EVDEV_OF_USAGE.get(usage)
    return None if evdev is None else evdev + X_KEYCODE_OFFSET
