"""What the glass-to-glass benchmark draws: a clock as a barcode over a known picture. A core.

The drawer puts it on the X display, the probe reads the barcode back from the decoded frame, and the trial
compares the decoded picture with the one computed here: the picture is a function of scene and clock only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CELL_PX = (
    16  # one macroblock of H.264, so a cell's edge is a block's edge and survives any quantizer
)
COLUMNS = 24
ROWS = 2
SYNC_BITS = (1, 0, 1, 1, 0, 0, 1, 0)
CLOCK_BITS = 32
CHECK_BITS = 8
TICKS_PER_MS = 10  # the clock counts tenths of a millisecond of CLOCK_MONOTONIC
CLOCK_MODULUS = 1 << CLOCK_BITS
TILE_PX = (
    256  # period of the picture in both directions: one copy from a pixmap shows it at any offset
)
# (x, y) speeds of the picture under the left and the right half of the screen, 5 to 7 px a frame
SPEED_PX_PER_S = ((150.0, 420.0), (-210.0, -300.0))

BARCODE_WIDTH_PX = CELL_PX * COLUMNS
BARCODE_HEIGHT_PX = CELL_PX * ROWS

Picture = npt.NDArray[np.uint8]


class Scene(enum.StrEnum):
    """`static`: only the barcode changes. `motion`: every pixel of the screen moves."""

    STATIC = "static"
    MOTION = "motion"


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height of the display in pixels."""

    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Size:
        """Read `1280x720`; ValueError names what was expected."""
        width, separator, height = text.partition("x")
        if not separator or not width.isdigit() or not height.isdigit():
            raise ValueError(f"expected a size as WIDTHxHEIGHT, for example 1280x720, got {text!r}")
        return cls(int(width), int(height))


def check_byte(ticks: int) -> int:
    """CRC-8 (polynomial 0x07) of the four clock bytes, most significant first."""
    crc = 0
    for byte in (ticks % CLOCK_MODULUS).to_bytes(4, "big"):
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


def encode_bits(ticks: int) -> tuple[int, ...]:
    """The 48 cells in reading order, 1 is white: sync, clock (most significant bit first), CRC-8."""
    clock = ticks % CLOCK_MODULUS
    bits = list(SYNC_BITS)
    bits += [(clock >> shift) & 1 for shift in range(CLOCK_BITS - 1, -1, -1)]
    check = check_byte(clock)
    bits += [(check >> shift) & 1 for shift in range(CHECK_BITS - 1, -1, -1)]
    return tuple(bits)


def decode_bits(bits: tuple[int, ...]) -> int | None:
    """The clock in ticks, or None when the sync cells or the CRC do not fit."""
    if len(bits) != COLUMNS * ROWS or bits[: len(SYNC_BITS)] != SYNC_BITS:
        return None
    ticks = int("".join(map(str, bits[8 : 8 + CLOCK_BITS])), 2)
    check = int("".join(map(str, bits[8 + CLOCK_BITS :])), 2)
    return ticks if check == check_byte(ticks) else None


def white_cells(ticks: int) -> list[tuple[int, int, int, int]]:
    """The white cells as (x, y, width, height) in pixels from the screen's upper left corner."""
    cells = []
    for index, bit in enumerate(encode_bits(ticks)):
        if bit:
            row, column = divmod(index, COLUMNS)
            cells.append((column * CELL_PX, row * CELL_PX, CELL_PX, CELL_PX))
    return cells


def halves_offset(scene: Scene, ticks: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where the left and the right half of the screen start in the periodic picture: ((x, y), (x, y))."""
    if scene is Scene.STATIC:
        return (0, 0), (0, 0)
    seconds = (ticks % CLOCK_MODULUS) / (TICKS_PER_MS * 1000)
    (left_x, left_y), (right_x, right_y) = (
        (int(x * seconds) % TILE_PX, int(y * seconds) % TILE_PX) for x, y in SPEED_PX_PER_S
    )
    return (left_x, left_y), (right_x, right_y)


def _tile() -> Picture:
    """One period of the picture, RGB: soft shading, coloured panels, lines as of text, and a little grain."""
    rng = np.random.default_rng(7)
    axis = np.arange(TILE_PX) * (2 * np.pi / TILE_PX)
    shade = 118 + 40 * np.sin(axis)[:, None] * np.cos(2 * axis)[None, :]
    tile = np.stack([shade, shade * 0.9 + 8, shade * 0.8 + 20], axis=2)
    for _ in range(14):
        x, y = rng.integers(0, TILE_PX - 70, size=2)
        width, height = rng.integers(16, 70, size=2)
        tile[y : y + height, x : x + width] = rng.integers(30, 225, size=3)
    for line in range(6, TILE_PX - 6, 22):
        start = 8
        while start < TILE_PX - 24:
            length = int(rng.integers(3, 16))
            tile[line : line + 2, start : start + length] = 20
            tile[line + 4 : line + 7, start : start + 2] = 235
            start += length + int(rng.integers(3, 9))
    tile += rng.normal(0, 3, size=(TILE_PX, TILE_PX, 1))
    period: Picture = np.clip(tile, 0, 255).astype(np.uint8)
    return period


def background(size: Size) -> Picture:
    """The picture one period larger than the screen, RGB, shape (height + TILE_PX, width + TILE_PX, 3)."""
    down = -(-(size.height + TILE_PX) // TILE_PX)
    across = -(-(size.width + TILE_PX) // TILE_PX)
    return np.tile(_tile(), (down, across, 1))[: size.height + TILE_PX, : size.width + TILE_PX]


def screen(size: Size, scene: Scene, ticks: int) -> Picture:
    """What the display shows at `ticks` without the barcode, RGB, shape (height, width, 3)."""
    picture = background(size)
    half = size.width // 2
    (left_x, left_y), (right_x, right_y) = halves_offset(scene, ticks)
    left = picture[left_y : left_y + size.height, left_x : left_x + half]
    right = picture[right_y : right_y + size.height, right_x + half : right_x + size.width]
    return np.concatenate([left, right], axis=1)


def luma(picture: Picture, *, bt709: bool) -> npt.NDArray[np.float64]:
    """Limited-range Y of an RGB picture by ITU-R BT.601 or BT.709."""
    red, green, blue = (picture[:, :, channel].astype(np.float64) for channel in range(3))
    kr, kb = (0.2126, 0.0722) if bt709 else (0.299, 0.114)
    plane: npt.NDArray[np.float64] = 16 + (219 / 255) * (
        kr * red + (1 - kr - kb) * green + kb * blue
    )
    return plane


def psnr_db(decoded_luma: Picture, size: Size, scene: Scene, ticks: int) -> float:
    """PSNR of a decoded limited-range Y plane below the barcode, by the matrix that fits better.

    Peers differ in whether they signal the matrix that they used, and this asks for the coding loss only.
    """
    expected = screen(size, scene, ticks)[BARCODE_HEIGHT_PX:]
    got = decoded_luma[BARCODE_HEIGHT_PX:].astype(np.float64)
    errors = [float(np.mean((luma(expected, bt709=bt709) - got) ** 2)) for bt709 in (False, True)]
    return float(10 * np.log10(255**2 / max(min(errors), 1e-6)))
