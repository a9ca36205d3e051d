"""Encoders of graphics cards, as far as they can be tested where there is none: options, probes, vendors."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar, cast

import av
import pytest
from av.video.codeccontext import VideoCodecContext

from agent import backends
from agent.encode import adapters, hardware, trial
from agent.encode.base import PROFILES, EncoderSettings, Profile
from agent.encode.hardware import HardwareEncoder
from agent.encode.live_options import LiveOptions, loaded_libavutil
from tests.eventually import eventually

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
def test_trial_without_the_card_says_what_the_driver_said(backend: type[HardwareEncoder]) -> None:
    if backend.encoder not in av.codecs_available or backend.vendor in adapters.vendors():
        pytest.skip("there is a card or no such encoder")
    reason = trial.try_out(backend)
    assert reason is not None
    assert reason.startswith(f"{backend.encoder} cannot encode 640x360")
    assert "avcodec_open2" not in reason


class Card(HardwareEncoder):
    """Stands in for an encoder of a card; `_drive` is what its driver does when it is opened."""

    name: ClassVar[str] = "card"
    encoder: ClassVar[str] = "libx264"

    def __init__(self, settings: EncoderSettings) -> None:
        self._drive()
        super().__init__(settings)

    def _drive(self) -> None:
        """Nothing."""

    def _options(self, settings: EncoderSettings) -> dict[str, str]:
        return {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1"}


class Hanging(Card):
    def _drive(self) -> None:
        while True:
            time.sleep(60)


class Broken(Card):
    def _drive(self) -> None:
        raise KeyError("x")


class Crashing(Card):
    def _drive(self) -> None:
        print("a word of the driver", flush=True)
        os.abort()


class Slow(Card):
    """Until a file is there."""

    def _drive(self) -> None:
        while not Path(os.environ["SLOW_CARD_FILE"]).exists():
            time.sleep(0.02)


class Meeting(Card):
    """Until another one is opened as well."""

    def _drive(self) -> None:
        there = Path(os.environ["MEETING_FOLDER"])
        (there / type(self).__name__).touch()
        while len(list(there.iterdir())) < 2:
            time.sleep(0.02)


class AlsoMeeting(Meeting):
    """The other one."""


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_tried", {})
    monkeypatch.setattr(trial, "WAIT_S", 60.0)


@pytest.mark.parametrize(
    ("backend", "words"),
    [(Hanging, "did not end"), (Broken, "broke (KeyError)"), (Crashing, "crashed")],
)
def test_trial_that_hangs_breaks_or_crashes_is_a_reason(
    backend: type[Card], words: str, untried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend is Hanging:
        monkeypatch.setattr(trial, "LIMIT_S", 0.5)
    assert words in str(backend.probe())
    assert words in str(backend.probe())  # and is not tried again
    assert hardware._tried[backend]._process.poll() is not None


def test_a_card_whose_first_use_takes_long_is_taken_when_it_has_gone_well(
    untried: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(trial, "WAIT_S", 0.1)
    monkeypatch.setenv("SLOW_CARD_FILE", str(tmp_path / "ready"))
    assert "not ended yet" in str(Slow.probe())
    assert "not ended yet" in str(Slow.probe())
    (tmp_path / "ready").touch()
    eventually(lambda: Slow.probe() is None)


def test_trials_of_several_cards_do_not_wait_for_each_other(
    untried: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One after the other, each with a limit of its own, they took longer than the host waits for all."""
    monkeypatch.setenv("MEETING_FOLDER", str(tmp_path))
    hardware.begin_trials([Meeting, AlsoMeeting])
    assert Meeting.probe() is None
    assert AlsoMeeting.probe() is None


def test_a_trial_ends_with_the_process_that_began_it(tmp_path: Path) -> None:
    code = "from tests.encode.test_hardware import Slow; print(Slow.probe(), flush=True); import os; os.abort()"
    env = os.environ | {"SLOW_CARD_FILE": str(tmp_path / "never")}
    done = subprocess.run(
        (sys.executable, "-c", f"from agent.encode import trial; trial.WAIT_S = 0.1; {code}"),
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    # The trial has the pipe of standard error, too: it has ended when that is closed.
    assert "not ended yet" in done.stdout


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
