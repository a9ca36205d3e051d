"""The drawer on a real X server: what is on the display is what the scene says."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from Xlib import X
from Xlib.display import Display

from benchmarks.m3_drawer import clock_ticks
from benchmarks.m3_scene import (
    BARCODE_HEIGHT_PX,
    CELL_PX,
    COLUMNS,
    ROWS,
    Picture,
    Scene,
    Size,
    decode_bits,
    screen,
)
from benchmarks.m3_trial import Plan, SceneDrawer, start_drawer
from benchmarks.processes import Nursery, start_xvfb

SIZE = Size(640, 360)
PLAN = Plan(SIZE, (Scene.STATIC, Scene.MOTION), seconds=1, warm_up_s=0, drawer_hz=59)

pytestmark = pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb (package xvfb)")


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[tuple[SceneDrawer, Display]]:
    with Nursery(tmp_path) as nursery:
        _, name = start_xvfb(nursery, f"{SIZE.width}x{SIZE.height}")
        drawer = start_drawer(nursery, name, PLAN)
        display = Display(name)
        yield drawer, display
        display.close()


def capture(display: Display) -> tuple[int | None, Picture]:
    """The clock and the picture on the display now, RGB."""
    root = display.screen().root
    image = root.get_image(0, 0, SIZE.width, SIZE.height, X.ZPixmap, 0xFFFFFFFF)
    pixels = np.frombuffer(image.data, dtype=np.uint8).reshape(SIZE.height, SIZE.width, 4)
    centres = pixels[CELL_PX // 2 :: CELL_PX, CELL_PX // 2 :: CELL_PX, 1][:ROWS, :COLUMNS]
    clock = decode_bits(tuple(int(value > 127) for value in centres.ravel()))
    return clock, pixels[:, :, 2::-1]


def test_the_display_shows_the_clock_of_now(shown: tuple[SceneDrawer, Display]) -> None:
    before = clock_ticks()
    deadline = time.monotonic() + 10
    clock, _ = capture(shown[1])
    while clock is None or clock < before:
        assert time.monotonic() < deadline, "no clock drawn since the test began"
        clock, _ = capture(shown[1])
    assert clock <= clock_ticks()


@pytest.mark.parametrize("scene", list(Scene))
def test_the_picture_is_the_one_of_its_clock(
    shown: tuple[SceneDrawer, Display], scene: Scene
) -> None:
    drawer, display = shown
    drawer.show(scene)
    switched = clock_ticks()
    deadline = time.monotonic() + 10
    clock, picture = capture(display)
    while clock is None or clock < switched + 1000:  # 0.1 s: the first frame of the new scene
        assert time.monotonic() < deadline, "no clock drawn since the switch"
        clock, picture = capture(display)
    expected = screen(SIZE, scene, clock)
    assert np.array_equal(picture[BARCODE_HEIGHT_PX:], expected[BARCODE_HEIGHT_PX:])
