"""Flags and environment of the agent, and its exit codes for what cannot be used."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from agent import settings
from agent.cli import main, parser
from agent.signaling import SignalingSettings
from tests.agent.process import ROOT


def load(*flags: str, **environment: str) -> settings.Settings:
    return settings.load(vars(parser().parse_args(["run", *flags])), environment).settings


def test_the_defaults_need_nothing() -> None:
    got = load()
    assert (got.url, got.room, got.source) == ("http://127.0.0.1:8080", "desk", settings.SOURCES[0])
    assert (got.fps, got.bitrate_bps, got.size, got.audio) == (60, 8_000_000, None, True)
    assert got.congestion == "delay"
    assert (got.token, got.ca_file, got.parent_fd) == (None, None, None)


def test_a_flag_beats_the_environment() -> None:
    environment = {"TIGHTBEAM_ROOM": "a", "TIGHTBEAM_FPS": "30", "TIGHTBEAM_AUDIO": "0"}
    assert load("--room", "b", **environment).room == "b"
    got = load("--size", "640x360", "--bitrate", "2.5", "--die-with-parent", "7", **environment)
    assert (got.room, got.fps, got.audio, got.size) == ("a", 30, False, (640, 360))
    assert (got.bitrate_bps, got.parent_fd) == (2_500_000, 7)


def test_the_token_comes_from_the_environment_and_shows_nowhere() -> None:
    got = load(TIGHTBEAM_HOST_TOKEN="very-secret")
    assert got.token == "very-secret"
    assert "very-secret" not in repr(got)
    with pytest.raises(SystemExit):
        load("--token", "x")


@pytest.mark.parametrize(
    "flags",
    [
        ["--url", "ftp://x"], ["--url", "nonsense"], ["--url", "http://x:0"], ["--room", "a b"], ["--room", "x" * 65],
        ["--size", "1x1"], ["--size", "641x360"], ["--size", "160x118"], ["--size", "wide"], ["--fps", "0"],
        ["--fps", "59.9"], ["--fps", "nan"], ["--bitrate", "-1"], ["--die-with-parent", "x"],
        ["--udp-ports", "50000"], ["--udp-ports", "50000-50000"], ["--udp-ports", "50009-50000"],
        ["--udp-ports", "80-90"], ["--udp-ports", "65000-65536"],
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_is_named(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *flags]) == 2
    said = capsys.readouterr().err
    assert f"{flags[0]}: expected" in said
    assert repr(flags[1]) in said


@pytest.mark.parametrize(
    ("url", "socket"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/ws"),
        ("https://node.example/", "wss://node.example/ws"),
        ("wss://node.example/signal", "wss://node.example/signal"),
    ],
)
def test_the_socket_of_a_node(url: str, socket: str) -> None:
    assert SignalingSettings(url, "desk").socket_url == socket


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from agent.cli import parser; parser(); print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split())
    assert not loaded & {"aiortc", "av", "numpy", "websockets", "asyncio", "Xlib"}


@pytest.mark.parametrize(
    "url", ["htps://me:secret@x", "http://me:secret@[::1", "http://me:secret@x:65536"]
)
def test_an_address_that_cannot_be_used_does_not_show_its_password(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--url", url]) == 2
    said = capsys.readouterr().err
    assert "--url: " in said
    assert "me:********@" in said
    assert "secret" not in said


def test_the_congestion_controller_is_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert load("--congestion", "loss").congestion == "loss"
    assert load(TIGHTBEAM_CONGESTION="loss").congestion == "loss"
    with pytest.raises(settings.SettingsError, match="TIGHTBEAM_CONGESTION: expected one of delay"):
        load(TIGHTBEAM_CONGESTION="luck")


def test_a_python_whose_clock_has_steps_of_15_ms_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As GetTickCount64's, before Python 3.13 on Windows."""
    coarse = SimpleNamespace(resolution=0.015625)
    monkeypatch.setattr(time, "get_clock_info", lambda name: coarse)
    assert main(["run"]) == 2
    assert "Python 3.13" in capsys.readouterr().err


def test_the_ports_are_a_range_or_any() -> None:
    assert load().udp_ports is None
    assert load("--udp-ports", "50000-50001").udp_ports == (50000, 50001)
    assert load(TIGHTBEAM_UDP_PORTS="1024-65535").udp_ports == (1024, 65_535)
