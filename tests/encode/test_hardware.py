"""Encoders of graphics cards, as far as they can be tested where there is none: options, probes, vendors."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import ClassVar, cast

import av
import pytest
from av.video.codeccontext import VideoCodecContext

from agent import backends
from agent.encode import adapters, hardware
from agent.encode.base import PROFILES, EncoderSettings, EncoderUnavailable, Profile
from agent.encode.hardware import HardwareEncoder
from agent.encode.live_options import LiveOptions, loaded_libavutil

AV_OPT_SEARCH_CHILDREN = 1
LOADED = [load() for _, load in backends.backends("encoder")]
CARDS: list[type[HardwareEncoder]] = [b for b in LOADED if issubclass(b, HardwareEncoder)]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("backend", CARDS, ids=lambda backend: backend.name)
def test_ffmpeg_knows_every_option_and_takes_its_value(
    backend: type[HardwareEncoder], profile: Profile
) -> None:
    if backend.encoder not in av.codecs_available:
        pytest.skip(f"PyAV is built without {backend.encoder} here")
    context = cast(VideoCodecContext, av.CodecContext.create(backend.encoder, "w"))
    live, libavutil = LiveOptions.of(context), loaded_libavutil()
    assert live is not None
    assert libavutil is not None
    libavutil.av_opt_set.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int,
    ]  # fmt: skip
    encoder = backend.__new__(backend)
    for name, value in encoder._options(EncoderSettings(640, 360, 30, 10**6, profile)).items():
        written = libavutil.av_opt_set(
            live._address, name.encode(), value.encode(), AV_OPT_SEARCH_CHILDREN
        )
        assert written >= 0, f"{name}={value}"


@pytest.mark.parametrize("backend", CARDS, ids=lambda backend: backend.name)
def test_trial_without_the_card_says_what_the_driver_said(
    backend: type[HardwareEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend.encoder not in av.codecs_available or backend.vendor in adapters.vendors():
        pytest.skip("there is a card or no such encoder")
    monkeypatch.setattr(adapters, "vendors", lambda: frozenset(adapters.VENDORS))
    monkeypatch.setattr(hardware, "_tried", {})
    reason = backend.probe()
    assert reason is not None
    assert reason.startswith(f"{backend.encoder} cannot encode 640x360")
    assert "avcodec_open2" not in reason


@pytest.mark.parametrize(("fault", "words"), [(None, "did not end"), (KeyError("x"), "KeyError")])
def test_trial_that_hangs_or_breaks_is_a_reason(
    fault: Exception | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    class Driver(HardwareEncoder):
        name: ClassVar[str] = "driver"
        encoder: ClassVar[str] = "libx264"

        def __init__(self, settings: EncoderSettings) -> None:
            if fault is not None:
                raise fault
            over.wait()
            raise EncoderUnavailable("too late")

    monkeypatch.setattr(hardware, "TRIAL_LIMIT_S", 0.1)
    monkeypatch.setattr(hardware, "_tried", {})
    try:
        assert words in str(Driver.probe())
        assert words in str(Driver.probe())  # and is not tried again
    finally:
        over.set()


def test_vendors_are_those_of_display_controllers(tmp_path: Path) -> None:
    for name, kind, vendor in (
        ("0000:00:01.0", "0x030000", "0x10DE"),
        ("0000:00:02.0", "0x020000", "0x8086"),
        ("0000:00:03.0", "0x030200", "0x1002"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "class").write_text(f"{kind}\n")
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
    (tmp_path / "gone").mkdir()
    assert adapters._linux(tmp_path) == {"10de", "1002"}


def test_cards_come_before_the_processor() -> None:
    order = [backend.name for backend in LOADED if backend.codec == "H264"]
    assert order == ["nvenc", "amf", "qsv", "mediafoundation", "vaapi", "x264"]
