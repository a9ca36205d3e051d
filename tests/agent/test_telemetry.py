"""What the agent says of its host: gathered by the media process, completed and said by the agent's own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from agent import telemetry
from agent.figures import Look, stages_s
from agent.graphics_card import Load
from agent.pipeline import PipelineStats
from agent.processor import Processor
from agent.transport.sender import SendStats
from cluster.protocol.telemetry import SessionFigures, decode

SESSION = SessionFigures(
    "vp8", "vpx", "direct", "hold", 640, 360, 30.0, 4e6, 3e6, {"encode": 0.01}, {"replaced": 0}
)


def test_a_rate_is_what_went_out_between_two_looks() -> None:
    first = Look(10.0, SendStats(octets=1000), 5_000_000)
    second = Look(12.0, SendStats(octets=501_000), 5_000_000)
    assert second.bps_since(first) == 2_000_000
    assert second.trend_since(first) == "hold"
    assert Look(14.0, SendStats(), 4_000_000).trend_since(second) == "fall"
    assert Look(14.0, SendStats(), 6_000_000).trend_since(second) == "rise"
    assert Look(12.0, SendStats(octets=0), 0).bps_since(second) == 0


def test_stage_times_are_seconds_within_their_range() -> None:
    video = PipelineStats(True, 30.0, 800.0, 0.0, 4e9, 0, {"VP8": "vpx"}, (640, 360))
    assert stages_s(video, SendStats(send_us=150)) == {
        "capture": 0.0008,
        "convert": 0.0,
        "encode": 10.0,
        "send": 0.00015,
    }


def test_pictures_that_were_replaced_were_captured_too() -> None:
    first, second = Look(10.0, SendStats(), 1, 4), Look(12.0, SendStats(), 1, 24)
    assert second.replaced_fps_since(first) == 10
    assert first.replaced_fps_since(second) == 0


def test_the_used_share_of_processors_is_between_two_looks(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3\n")
    processor = Processor(stat)
    stat.write_text("cpu  160 0 120 710 110 0 0 0 90 0\n")
    assert processor.used_share() == 0.8
    assert processor.used_share() is None, "no time has passed"
    stat.write_text("")
    assert processor.used_share() is None
    assert Processor(tmp_path / "none").used_share() is None


@pytest.mark.parametrize(
    ("sessions", "ready", "state"),
    [((), True, "idle"), ((SESSION,), True, "streaming"), ((SESSION,), False, "failing")],
)
def test_the_agent_adds_what_it_alone_knows(
    sessions: tuple[SessionFigures, ...], ready: bool, state: str
) -> None:
    gathered = telemetry.checked(telemetry.gathered(sessions))
    own = telemetry.Own(61.5, 0.25, Load(0.63, 0.2))
    said = decode(telemetry.frame(gathered, own, media_ready=ready))
    assert (said.state, said.uptime_s, said.sessions) == (state, 61.5, sessions)
    assert (said.cpu, said.gpu, said.gpu_encoder) == (0.25, 0.63, 0.2)
    assert said.agent == telemetry.AGENT_VERSION


def test_a_host_without_a_media_process_says_that_it_fails() -> None:
    assert (
        decode(telemetry.frame(None, telemetry.Own(1.0, None, Load()), media_ready=False)).state
        == "failing"
    )


def test_figures_that_are_not_fit_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    bad = SessionFigures(
        "vp8", "vpx", "direct", "hold", 640, 360, math.nan, 4e6, 3e6, {}, {"replaced": 0}
    )
    assert telemetry.checked(telemetry.gathered((bad,))) is None
    assert "encode_fps" in caplog.text
