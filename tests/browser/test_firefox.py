"""A smoke test in Debian's Firefox, which has no H.264: VP8 by the same path."""

from __future__ import annotations

import pytest

from tests.browser.browser import Browser
from tests.browser.system import System
from tests.eventually import eventually

pytestmark = pytest.mark.browser


@pytest.mark.timeout(180)
def test_firefox_plays_vp8() -> None:
    flags = ("--no-pairing", "--source", "testpattern", "--size", "640x360", "--fps", "30")
    with System(*flags) as system, Browser("firefox") as browser:
        page = browser.open(system.link, 800, 600)
        page.connect()
        before = page.frames()
        eventually(lambda: page.frames() > before + 20, "more frames")
        red, green, blue = page.pixel(0.5, 0.5)
        assert page.evaluate("document.getElementById('screen').videoWidth") == 640
        assert (red, green, blue) != (0, 0, 0)
        for key in ("ControlLeft", "AltLeft", "ShiftLeft", "KeyS"):
            page.call("key", key=key, down=True)
        statistics = "document.getElementById('stats').textContent"
        eventually(lambda: "VP8" in page.evaluate(statistics), "the codec in the statistics")
        photon = """[...document.querySelectorAll("#stats dt")]
            .find((term) => term.textContent.startsWith("Captured to photon"))
            .nextElementSibling.textContent"""
        eventually(lambda: "ms" in page.evaluate(photon), "a leg that both ends tell of")
        page.close()
