"""SendInput on a real Windows desktop, with a window that tells what came."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator

import pytest

if sys.platform != "win32":
    pytest.skip("for Windows", allow_module_level=True)

from agent.capture.base import Box
from agent.input.base import InputUnavailable
from agent.input.keymap import KEYS as TABLE
from agent.input.sendinput import SendInputInjector
from agent.win32 import primary_size, user32
from tests import vectors
from tests.input.contract import A, keep_the_contract
from tests.windows.inside.window import Window, keys_down, pointer_at

KEYS = vectors.load("keys")
NUMPAD_WITHOUT_LOCK = dict(
    zip(range(0x60, 0x6A), (45, 35, 40, 34, 37, 12, 39, 36, 38, 33), strict=True)
) | {0x6E: 46}
"""What a scancode of the keypad means while NumLock is off: insert, end, down, ... and delete."""
MAPVK_VSC_TO_VK_EX = 3
SPI_GETMOUSE, SPI_SETMOUSE = 3, 4


@pytest.fixture(scope="module")
def window() -> Iterator[Window]:
    window = Window()
    window.until(lambda: window.text == "")
    yield window
    window.close()


@pytest.fixture
def injector(window: Window) -> Iterator[SendInputInjector]:
    window.keys.clear()
    window.mouse.clear()
    injector = SendInputInjector()
    yield injector
    injector.close()


def test_it_keeps_the_contract(window: Window) -> None:
    keep_the_contract(SendInputInjector, SendInputInjector.probe())
    window.pump()


def test_text_beyond_the_layout_is_typed(window: Window, injector: SendInputInjector) -> None:
    before = window.text
    injector.text("Grüße 日本 €😀")
    window.until(lambda: window.text == before + "Grüße 日本 €😀")
    assert keys_down() == []


def test_text_is_typed_with_its_modifiers(window: Window, injector: SendInputInjector) -> None:
    before = window.text
    shift = 0xE1
    for usage, shifted in ((0x0B, True), (0x0C, False), (0x1E, True), (0x2C, False), (0x38, False)):
        if shifted:
            injector.key(shift, down=True)
        injector.key(usage, down=True)
        injector.key(usage, down=False)
        if shifted:
            injector.key(shift, down=False)
    window.until(lambda: window.text == before + "Hi! /")


def test_the_table_says_what_windows_says_of_a_scancode() -> None:
    """Of the main block and keypad of the US layout; Wine 8 knows no extended ones here."""
    different = {}
    for code, row in KEYS.items():
        key = TABLE[row["usage"]]
        if 0 < key.scancode < 0x59 and code != "NumpadMultiply":  # Wine: print screen
            said = user32.MapVirtualKeyW(key.scancode, MAPVK_VSC_TO_VK_EX)
            if said not in (key.virtual_key, NUMPAD_WITHOUT_LOCK.get(key.virtual_key)):
                different[code] = (key, said)
    assert not different


def test_extended_keys_say_so_and_pause_is_told_from_num_lock(
    window: Window, injector: SendInputInjector
) -> None:
    for code in ("ArrowLeft", "Numpad4", "ControlRight", "Pause", "NumLock"):
        injector.key(KEYS[code]["usage"], down=True)
        injector.key(KEYS[code]["usage"], down=False)
    window.until(lambda: len(window.keys) == 10)
    downs = [(key, scancode) for key, scancode, down in window.keys if down]
    assert [scancode for _, scancode in downs[:3]] == [0x14B, 0x4B, 0x11D]
    assert [key for key, _ in downs[3:]] == [0x13, 0x90]
    injector.key(KEYS["NumLock"]["usage"], down=True)  # as it was
    injector.key(KEYS["NumLock"]["usage"], down=False)


def test_a_key_is_held_until_it_is_released(window: Window, injector: SendInputInjector) -> None:
    injector.key(A, down=True)
    window.until(lambda: 0x41 in keys_down())
    injector.key(A, down=False)
    window.until(lambda: 0x41 not in keys_down())


def test_the_five_buttons_and_both_wheels(window: Window, injector: SendInputInjector) -> None:
    width, height = primary_size()
    injector.move(0.5, 0.5)
    for number in range(5):
        injector.button(number, down=True)
        injector.button(number, down=False)
    injector.wheel(0, 60)
    injector.wheel(-30, -240)
    window.until(lambda: len(window.mouse) == 8)
    at = (width // 2, height // 2)
    names = ("left", "middle", "right", "x1", "x2")
    assert window.mouse[:5] == [(name, *at) for name in names]
    assert window.mouse[5:] == [("wheel", -60, 0), ("hwheel", -30, 0), ("wheel", 240, 0)]


@pytest.mark.parametrize("place", [(0, 0), (-1, -1), (11, 7), (400, 300), (33, -2)])
def test_the_pointer_lands_on_the_pixel(
    injector: SendInputInjector, place: tuple[int, int]
) -> None:
    width, height = primary_size()
    x, y = place[0] % width, place[1] % height
    # What a page with a picture of that many CSS pixels sends, quantised to 16 bits.
    injector.move(int(x / width * 65535) / 65535, int(y / height * 65535) / 65535)
    assert pointer_at() == (x, y)


def test_motion_is_a_fraction_of_the_area_that_is_shown(injector: SendInputInjector) -> None:
    injector.area = Box(200, 100, 600, 400)
    for x, y, place in ((0, 0, (200, 100)), (1, 1, (599, 399)), (0.5, 0.25, (400, 175))):
        injector.move(x, y)
        assert pointer_at() == place


def test_relative_motion_is_exact_without_acceleration(injector: SendInputInjector) -> None:
    before = (ctypes.c_int * 3)()
    user32.SystemParametersInfoW(SPI_GETMOUSE, 0, before, 0)
    user32.SystemParametersInfoW(SPI_SETMOUSE, 0, (ctypes.c_int * 3)(0, 0, 0), 0)
    try:
        injector.move(0.5, 0.5)
        x, y = pointer_at()
        for dx, dy in [(1, 0), (150, -130), (-300, 90), (7, 7), (-1, -1)]:
            injector.move_by(dx, dy)
            x, y = x + dx, y + dy
            assert pointer_at() == (x, y)
    finally:
        user32.SystemParametersInfoW(SPI_SETMOUSE, 0, before, 0)


def test_a_closed_injector_says_so() -> None:
    injector = SendInputInjector()
    injector.close()
    with pytest.raises(InputUnavailable):
        injector.key(A, down=True)
