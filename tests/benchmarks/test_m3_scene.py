"""The barcode and the known picture of the glass-to-glass benchmark."""

import numpy as np
import pytest

from benchmarks.m3_scene import (
    BARCODE_HEIGHT_PX,
    CELL_PX,
    CLOCK_MODULUS,
    COLUMNS,
    ROWS,
    TILE_PX,
    Scene,
    Size,
    background,
    decode_bits,
    encode_bits,
    halves_offset,
    luma,
    psnr_db,
    screen,
    white_cells,
)

SIZE = Size(640, 360)


@pytest.mark.parametrize("ticks", [0, 1, 123_456_789, CLOCK_MODULUS - 1])
def test_every_clock_is_read_back(ticks: int) -> None:
    assert decode_bits(encode_bits(ticks)) == ticks


def test_the_clock_wraps() -> None:
    assert encode_bits(CLOCK_MODULUS + 5) == encode_bits(5)


def test_one_wrong_cell_is_always_noticed() -> None:
    bits = encode_bits(987_654_321)
    for index in range(len(bits)):
        spoiled = tuple(bit ^ (place == index) for place, bit in enumerate(bits))
        assert decode_bits(spoiled) is None


def test_a_short_row_of_cells_is_no_clock() -> None:
    assert decode_bits(encode_bits(7)[:-1]) is None


def test_white_cells_are_the_set_bits_in_reading_order() -> None:
    bits = encode_bits(42)
    drawn = {(y // CELL_PX) * COLUMNS + x // CELL_PX for x, y, _, _ in white_cells(42)}
    assert drawn == {index for index, bit in enumerate(bits) if bit}
    assert max(y for _, y, _, _ in white_cells(42)) < ROWS * CELL_PX


def test_the_picture_repeats_in_both_directions() -> None:
    picture = background(SIZE)
    assert picture.shape == (SIZE.height + TILE_PX, SIZE.width + TILE_PX, 3)
    assert np.array_equal(picture[:TILE_PX], picture[TILE_PX : 2 * TILE_PX])
    assert np.array_equal(picture[:, :TILE_PX], picture[:, TILE_PX : 2 * TILE_PX])


def test_motion_moves_both_halves_and_static_none() -> None:
    assert halves_offset(Scene.STATIC, 12_345) == ((0, 0), (0, 0))
    before, after = (screen(SIZE, Scene.MOTION, ticks) for ticks in (50_000, 50_170))
    half = SIZE.width // 2
    assert not np.array_equal(before[:, :half], after[:, :half])
    assert not np.array_equal(before[:, half:], after[:, half:])


def test_psnr_of_the_very_picture_is_limited_by_rounding_only() -> None:
    for bt709 in (False, True):
        plane = luma(screen(SIZE, Scene.MOTION, 77_000), bt709=bt709).round().astype(np.uint8)
        assert psnr_db(plane, SIZE, Scene.MOTION, 77_000) > 55


def test_psnr_of_known_noise() -> None:
    plane = luma(screen(SIZE, Scene.STATIC, 0), bt709=False).round()
    plane[::2] += 4
    plane[1::2] -= 4
    plane[:BARCODE_HEIGHT_PX] = 0  # the barcode's rows do not count
    assert psnr_db(plane.astype(np.uint8), SIZE, Scene.STATIC, 0) == pytest.approx(36.1, abs=0.2)


def test_a_size_is_read_and_refused_in_words() -> None:
    assert Size.parse("1920x1080") == Size(1920, 1080)
    with pytest.raises(ValueError, match="1280x720"):
        Size.parse("720p")
