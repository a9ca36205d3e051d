"""What the agent was told to do: flags and TIGHTBEAM_* environment, read once; a flag beats the environment."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

Source = Literal["x11", "gdi", "testpattern"]
SOURCES: Final[tuple[Source, ...]] = ("gdi" if sys.platform == "win32" else "x11", "testpattern")
"""Of this system, the default first."""
Congestion = Literal["delay", "loss"]
CONGESTION: Final[tuple[Congestion, ...]] = ("delay", "loss")
LOG_FORMATS: Final = ("text", "json")
ROOM_PATTERN: Final = re.compile(r"[A-Za-z0-9_\-:.]{1,64}")
DEFAULT_URL: Final = "http://127.0.0.1:8080"
DEFAULT_ROOM: Final = "desk"
DEFAULT_FPS: Final = 60
DEFAULT_BITRATE_MBPS: Final = 8.0

ENVIRONMENT: Final[dict[str, str]] = {
    "url": "TIGHTBEAM_URL",
    "room": "TIGHTBEAM_ROOM",
    "source": "TIGHTBEAM_SOURCE",
    "size": "TIGHTBEAM_SIZE",
    "fps": "TIGHTBEAM_FPS",
    "bitrate": "TIGHTBEAM_BITRATE",
    "congestion": "TIGHTBEAM_CONGESTION",
    "no_audio": "TIGHTBEAM_NO_AUDIO",
    "ca_file": "TIGHTBEAM_CA_FILE",
    "log_format": "TIGHTBEAM_LOG_FORMAT",
    "parent_fd": "TIGHTBEAM_PARENT_FD",
}
TOKEN: Final = "TIGHTBEAM_HOST_TOKEN"  # noqa: S105 - the name of the variable


class SettingsError(ValueError):
    """A setting that cannot be used; the text names it and says what was expected."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the agent needs to know."""

    url: str
    room: str
    token: str | None = field(repr=False)
    source: Source
    size: tuple[int, int] | None
    """Of the test pattern; a desktop has its own size."""
    fps: int
    bitrate_bps: int
    congestion: Congestion
    audio: bool
    ca_file: str | None
    log_format: str
    parent_fd: int | None
    """The read end of a pipe whose write end only our parent holds: at its end of file we stop."""


def load(flags: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """Settings from parsed flags (None: not given) and the environment. Raises SettingsError."""

    def text(name: str, default: str = "") -> str:
        value = flags.get(name)
        if value is None or value is False:
            value = environment.get(ENVIRONMENT[name]) or default
        return str(value)

    parent_fd = text("parent_fd")
    return Settings(
        url=_url(text("url", DEFAULT_URL)),
        room=_room(text("room", DEFAULT_ROOM)),
        token=environment.get(TOKEN) or None,
        source=_source(text("source", SOURCES[0])),
        size=_size(text("size")),
        fps=int(_number("fps", text("fps", str(DEFAULT_FPS)), 1, 240)),
        bitrate_bps=int(
            _number("bitrate", text("bitrate", str(DEFAULT_BITRATE_MBPS)), 0.1, 200) * 1_000_000
        ),
        congestion=_congestion(text("congestion", "delay")),
        audio=not _flag("no_audio", text("no_audio", "0")),
        ca_file=text("ca_file") or None,
        log_format=_choice("log_format", text("log_format", "text"), LOG_FORMATS),
        parent_fd=int(_number("parent_fd", parent_fd, 0, 65_535)) if parent_fd else None,
    )


def _bad(name: str, expected: str, got: str) -> SettingsError:
    flag = "--" + name.replace("_", "-")
    return SettingsError(f"{flag} / {ENVIRONMENT[name]}: expected {expected}, got {got!r}")


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise _bad("url", f"a node's address such as {DEFAULT_URL}", value)
    return value


def _room(value: str) -> str:
    if not ROOM_PATTERN.fullmatch(value):
        raise _bad("room", "1 to 64 letters, digits or _-:.", value)
    return value


def _source(value: str) -> Source:
    for source in SOURCES:
        if value == source:
            return source
    raise _bad("source", f"one of {', '.join(SOURCES)}", value)


def _congestion(value: str) -> Congestion:
    for congestion in CONGESTION:
        if value == congestion:
            return congestion
    raise _bad("congestion", f"one of {', '.join(CONGESTION)}", value)


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise _bad(name, f"one of {', '.join(choices)}", value)
    return value


def _size(value: str) -> tuple[int, int] | None:
    if not value:
        return None
    match = re.fullmatch(r"(\d{2,5})x(\d{2,5})", value)
    if match is None:
        raise _bad("size", "WIDTHxHEIGHT such as 1280x720", value)
    width, height = int(match[1]), int(match[2])
    if width % 2 or height % 2 or not (160 <= width <= 7680 and 120 <= height <= 4320):
        raise _bad("size", "even numbers from 160x120 to 7680x4320", value)
    return width, height


def _number(name: str, value: str, least: float, most: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise _bad(name, f"a number from {least} to {most}", value)
    return number


def _flag(name: str, value: str) -> bool:
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("0", "false", "no", "off", ""):
        return False
    raise _bad(name, "1 or 0", value)
