"""What a page hears."""

from __future__ import annotations

from tests.browser.browser import Page
from tests.eventually import eventually

_TRACKS = "document.getElementById('sound').srcObject?.getAudioTracks().length"

_LISTEN = """(() => {
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 8192;
    const stream = document.getElementById("sound").srcObject;
    context.createMediaStreamSource(stream).connect(analyser);
    globalThis.loudest = () => {
        const bins = new Float32Array(analyser.frequencyBinCount);
        analyser.getFloatFrequencyData(bins);
        const top = bins.indexOf(Math.max(...bins));
        return [top * context.sampleRate / analyser.fftSize, bins[top]];
    };
})()"""


def listen(page: Page) -> None:
    """Have the page analyse the sound of its session, before `hears`."""
    eventually(lambda: page.evaluate(_TRACKS), "a track of sound")
    page.evaluate(_LISTEN)


def hears(page: Page, frequency_hz: float) -> bool:
    """Whether that is what it hears most of."""
    frequency, level = page.evaluate("globalThis.loudest()")
    return abs(frequency - frequency_hz) < 10 and (level or -999) > -50
