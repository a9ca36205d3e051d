"""Browsers play each video codec that a host can send."""

from __future__ import annotations

import pytest

from tests.browser.browser import Browser
from tests.browser.system import System
from tests.eventually import eventually

pytestmark = pytest.mark.browser

ONLY = """(() => {
  const all = RTCRtpReceiver.getCapabilities("video");
  const codecs = all.codecs.filter((codec) =>
    codec.mimeType === "video/rtx" || (%s));
  RTCRtpReceiver.getCapabilities = () => ({ ...all, codecs });
  return codecs.length;
})()"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("browser_name", "kept", "shown"),
    [
        ("chromium", "/VP9/.test(codec.mimeType)", "VP9"),
        ("firefox", "/VP9/.test(codec.mimeType)", "VP9"),
        ("chromium", '/level-id=(4d|64)/.test(codec.sdpFmtpLine ?? "")', "H264"),
    ],
)
def test_a_browser_plays_what_it_alone_offers(browser_name: str, kept: str, shown: str) -> None:
    flags = ("--no-pairing", "--source", "testpattern", "--size", "640x360", "--fps", "30")
    with System(*flags) as system, Browser(browser_name) as browser:
        page = browser.open(system.link, 800, 600)
        assert page.evaluate(ONLY % kept) > 1
        page.connect()
        before = page.frames()
        eventually(lambda: page.frames() > before + 20, "more frames")
        statistics = "document.getElementById('stats').textContent"
        for key in ("ControlLeft", "AltLeft", "ShiftLeft", "KeyS"):
            page.call("key", key=key, down=True)
        eventually(lambda: shown in page.evaluate(statistics), "the codec in the statistics")
        page.close()
