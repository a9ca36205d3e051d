"""The key table against the vectors, and that X means the same by it."""

import pytest

from agent.input.keymap import KEYS as TABLE
from agent.input.keymap import Key, x_keycode
from tests import vectors

KEYS = vectors.load("keys")


@pytest.mark.parametrize("code", KEYS)
def test_a_key_of_the_page_is_the_key_of_the_host(code: str) -> None:
    row = KEYS[code]
    assert TABLE[row["usage"]] == Key(row["evdev"], row["scancode"], row["virtualKey"])
    assert x_keycode(row["usage"]) == row["evdev"] + 8


def test_every_key_fits_an_x_keycode_and_unknown_usages_have_none() -> None:
    assert all(8 <= (x_keycode(usage) or 0) <= 255 for usage in TABLE)
    assert x_keycode(0) is None
    assert x_keycode(3) is None
    assert x_keycode(65535) is None


def test_the_vectors_name_each_usage_once() -> None:
    usages = [row["usage"] for row in KEYS.values()]
    assert len(set(usages)) == len(usages)


def test_a_scancode_and_a_virtual_key_name_one_key_each() -> None:
    """But the left and right form of a key that has two: both enters, both backslashes, Kana and Hangul."""
    scancodes = [key.scancode for usage, key in TABLE.items() if key.scancode and usage != 0x32]
    assert len(set(scancodes)) == len(scancodes)
    shared = {0x0D, 0xDC, 0x15}
    keys = [key.virtual_key for key in TABLE.values() if key.virtual_key not in {0, *shared}]
    assert len(set(keys)) == len(keys)
