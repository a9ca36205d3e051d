"""Drawing the pointer: premultiplied alpha, clipped at the edges."""

from types import SimpleNamespace

import numpy as np
import pytest

from agent.capture.cursor import blend_cursor


def cursor(x: int, y: int, word: int) -> SimpleNamespace:
    return SimpleNamespace(x=x, y=y, width=4, height=4, xhot=1, yhot=1, cursor_image=[word] * 16)


def test_opaque_and_half_transparent_words_blend() -> None:
    pixels = np.full((10, 10, 4), 100, np.uint8)
    blend_cursor(pixels, cursor(5, 5, 0xFF102030))
    assert pixels[4, 4, :3].tolist() == [0x30, 0x20, 0x10]
    assert pixels[3, 3, :3].tolist() == [100, 100, 100]
    blend_cursor(pixels, cursor(2, 2, 0x80400000))
    assert pixels[1, 1, :3].tolist() == pytest.approx([50, 50, 114], abs=1)


@pytest.mark.parametrize("place", [(0, 0), (9, 9), (-20, 3), (3, 50)])
def test_cursor_at_or_beyond_the_edge_is_clipped(place: tuple[int, int]) -> None:
    pixels = np.zeros((10, 10, 4), np.uint8)
    blend_cursor(pixels, cursor(*place, 0xFFFFFFFF))
    expected = sum(
        1
        for y in range(place[1] - 1, place[1] + 3)
        for x in range(place[0] - 1, place[0] + 3)
        if 0 <= x < 10 and 0 <= y < 10
    )
    assert int((pixels[..., 0] == 255).sum()) == expected
