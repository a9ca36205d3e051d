"""What the overlay shows is true: its legs against a clock on the screen and a client of the X server."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from benchmarks.m3_legs import captured_s, clicked, pictures
from benchmarks.m3_scene import Scene
from tests.vectors import load

WITHIN = 0.10
"""Of the other measure."""


def test_frames_are_read_as_the_vectors_say() -> None:
    for row in load("stats")["valid"]:
        if row["message"]["type"] != "frames":
            continue
        found = captured_s([base64.b64encode(bytes.fromhex(row["hex"])).decode()])
        told = {f["rtp_timestamp"]: f["captured"] for f in row["message"]["frames"]}
        assert {stamp: round(at * 1e6) for stamp, at in found.items()} == told


@pytest.mark.browser
def test_captured_to_photon_is_what_a_clock_on_the_screen_says(tmp_path: Path) -> None:
    ((_, found),) = pictures(tmp_path, [Scene.STATIC], rounds=1)
    waited = sorted(found.waited_ms)[len(found.waited_ms) // 2]
    ours = found.whole.ours[0] + waited
    assert ours == pytest.approx(found.whole.outside.p50, rel=WITHIN)
    assert len(found.waited_ms) > 100


@pytest.mark.browser
def test_click_to_photon_is_from_the_click_to_what_it_changed(tmp_path: Path) -> None:
    ((_, found),) = clicked(tmp_path, rounds=1, clicks=15)
    assert found.whole.ours[0] == pytest.approx(found.whole.outside.p50, rel=WITHIN)
    assert found.leg is not None
    # From the window system's hand to the client's it takes some more, which the host cannot know.
    assert found.leg.ours[0] < found.leg.outside.p50 + found.clocks_ms
