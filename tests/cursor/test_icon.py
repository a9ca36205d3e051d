"""What a Windows pointer looks like, from masks and colours."""

from __future__ import annotations

import numpy as np

from agent.cursor.icon import Bitmap, shape_of


def bits(*rows: str) -> Bitmap:
    """A bitmap of one bit, as Windows gives it in 32."""
    ink = np.array([[character == "1" for character in row] for row in rows])
    return np.repeat(ink[..., None], 4, axis=2).astype(np.uint8) * np.array(
        [255, 255, 255, 0], np.uint8
    )


def seen(mask: Bitmap, colour: Bitmap | None = None) -> list[str]:
    """A letter a pixel: black, white, other colours, or a dot where nothing is."""
    shape = shape_of(mask, colour, (1, 0))
    assert shape is not None
    assert (shape.hot_x, shape.hot_y) == (1, 0)
    pixels = np.frombuffer(shape.pixels, np.uint8).reshape(shape.height, shape.width, 4)
    letters: dict[tuple[int, ...], str] = {(0, 0, 0, 255): "b", (255, 255, 255, 255): "w"}
    return [
        "".join("." if pixel[3] == 0 else letters.get(tuple(pixel), "c") for pixel in row)
        for row in pixels.tolist()
    ]


def test_a_pointer_of_one_bit_is_black_white_or_nothing() -> None:
    assert seen(bits("0011", "1111", "0100", "0000")) == ["bw..", "...."]


def test_what_inverts_the_screen_is_black_with_white_beside_it() -> None:
    text_cursor = bits(*["11111"] * 5, "00000", "00000", "00100", "00000", "00000")
    assert seen(text_cursor) == [".....", ".www.", ".wbw.", ".www.", "....."]


def test_colours_keep_their_alpha_and_without_any_the_mask_says_what_shows() -> None:
    colour = np.array([[[10, 20, 30, 128], [0, 0, 0, 0]]], np.uint8)
    shape = shape_of(bits("00"), colour, (0, 0))
    assert shape is not None
    assert shape.pixels.hex() == "1e140a80" + "00000000"
    colour = np.array([[[10, 20, 30, 0], [0, 0, 0, 0], [0, 0, 0, 0]]], np.uint8)
    assert seen(bits("010"), colour) == ["c.b"]
    assert shape_of(bits("111"), np.zeros((1, 3, 4), np.uint8), (0, 0)) is None
    assert shape_of(bits("11", "00"), None, (0, 0)) is None
