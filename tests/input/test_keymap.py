"""The key table against the vectors, and that X means the same by it."""

import pytest

from agent.input.keymap import EVDEV_OF_USAGE, x_keycode
from tests import vectors

KEYS = vectors.load("keys")


@pytest.mark.parametrize("code", KEYS)
def test_a_key_of_the_page_is_the_key_of_the_host(code: str) -> None:
    row = KEYS[code]
    assert EVDEV_OF_USAGE[row["usage"]] == row["evdev"]
    assert x_keycode(row["usage"]) == row["evdev"] + 8


def test_every_key_fits_an_x_keycode_and_unknown_usages_have_none() -> None:
    assert all(8 <= (x_keycode(usage) or 0) <= 255 for usage in EVDEV_OF_USAGE)
    assert x_keycode(0) is None
    assert x_keycode(3) is None
    assert x_keycode(65535) is None


def test_the_vectors_name_each_usage_once() -> None:
    usages = [row["usage"] for row in KEYS.values()]
    assert len(set(usages)) == len(usages)
