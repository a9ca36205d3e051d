"""What a host says of itself every two seconds: a binary frame to frozen values and back (docs/protocol.md 3.5).

Flow: the agent encodes; cluster/telemetry.py checks and keeps it in Redis; the fleet's exporter decodes it there.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, cast

import msgpack

VERSION: Final = 1
MAX_FRAME_BYTES: Final = 40 * 1024
"""Any telemetry that is valid fits."""
MAX_SESSIONS: Final = 64
"""The largest capacity of a room."""
OTHER: Final = "other"
"""Stands for a name that this version does not know: a newer agent is read all the same."""

# Whatever becomes a label comes from one of these.
STATES: Final = ("idle", "streaming", "failing", OTHER)
CODECS: Final = ("h264", "vp8", "vp9", "hevc", "av1", OTHER)
PATHS: Final = ("direct", "relay", "unknown", OTHER)
CONGESTION: Final = ("rise", "hold", "fall", "unknown", OTHER)
DROPS: Final = ("replaced", "paced", "failed", OTHER)
"""Why a captured frame was not sent: a newer one took its place, the path was full, the encoder failed."""
REPAIRS: Final = ("sent", "parity", "repeated", "refused")
"""Packets: all that were sent, of these parity packets, those sent again, and those asked for again and not sent."""
ENCODERS: Final = ("x264", "vpx", "nvenc", "amf", "qsv", "mediafoundation", "vaapi", OTHER)
STAGES: Final = ("capture", "convert", "encode", "packetize", "send")
LEGS: Final = (
    "click_to_photon",
    "input",
    "inject",
    "capture_to_photon",
    "network",
    "buffer",
    "decode",
    "display",
)
"""What a viewer's page measures; in the order of the LEGS message (docs/protocol.md 6.4)."""
VERSION_PATTERN: Final = re.compile(r"[0-9A-Za-z.+\-]{1,32}")

Value = Any
"""A decoded msgpack value."""
Check = Callable[[str, Value], Value]


class TelemetryError(ValueError):
    """A frame that is not as docs/protocol.md says; the text names the key and what was expected."""


def _number(least: float, most: float) -> Check:
    def check(key: str, value: Value) -> float:
        # NaN is in no range, so that this refuses it as it refuses the infinities.
        if type(value) not in (int, float) or not least <= value <= most:
            raise TelemetryError(f"{key}: expected a number from {least:g} to {most:g}")
        return float(value)

    return check


def _integer(most: int) -> Check:
    def check(key: str, value: Value) -> int:
        if type(value) is not int or not 0 <= value <= most:
            raise TelemetryError(f"{key}: expected an integer from 0 to {most}")
        return value

    return check


def _name(names: tuple[str, ...]) -> Check:
    def check(key: str, value: Value) -> str:
        if type(value) is not str:
            raise TelemetryError(f"{key}: expected a string")
        return value if value in names else OTHER

    return check


def _agent(key: str, value: Value) -> str:
    if type(value) is not str or not VERSION_PATTERN.fullmatch(value):
        raise TelemetryError(f"{key}: does not match {VERSION_PATTERN.pattern}")
    return value


def _by_name(names: tuple[str, ...], check: Check) -> Check:
    """A map whose keys are of a closed set; the others are ignored."""

    def check_map(key: str, value: Value) -> Mapping[str, Value]:
        if type(value) is not dict:
            raise TelemetryError(f"{key}: expected a map")
        return {name: check(f"{key}.{name}", value[name]) for name in names if name in value}

    return check_map


def _sessions(key: str, value: Value) -> tuple[SessionFigures, ...]:
    if type(value) is not list or len(value) > MAX_SESSIONS:
        raise TelemetryError(f"{key}: expected a list of at most {MAX_SESSIONS}")
    return tuple(
        _checked(SessionFigures, entry, f"{key}[{index}]") for index, entry in enumerate(value)
    )


_share = _number(0, 1)
_seconds = _number(0, 3600)
_rate = _number(0, 1e11)
_frames = _number(0, 1000)
_count = _integer(1 << 40)


def _of(check: Check) -> Any:
    return dataclasses.field(metadata={"check": check})


def _maybe(check: Check) -> Any:
    """None: this host does not know."""
    return dataclasses.field(default=None, metadata={"check": check})


@dataclass(frozen=True, slots=True)
class SessionFigures:
    """One viewer's session in the last two seconds. Counts are since the session began."""

    codec: str = _of(_name(CODECS))
    encoder: str = _of(_name(ENCODERS))
    path: str = _of(_name(PATHS))
    congestion: str = _of(_name(CONGESTION))
    width: int = _of(_integer(16384))
    height: int = _of(_integer(16384))
    encode_fps: float = _of(_frames)
    target_bps: float = _of(_rate)
    sent_bps: float = _of(_rate)
    stages_s: Mapping[str, float] = _of(_by_name(STAGES, _number(0, 10)))
    """Medians, by the names of STAGES."""
    dropped: Mapping[str, int] = _of(_by_name(DROPS, _count))
    """Frames, by the names of DROPS."""
    capture_fps: float | None = _maybe(_frames)
    rtt_s: float | None = _maybe(_seconds)
    loss: float | None = _maybe(_share)
    jitter_s: float | None = _maybe(_seconds)
    freezes: int | None = _maybe(_count)
    legs_s: Mapping[str, float] | None = _maybe(_by_name(LEGS, _number(0, 10)))
    """Medians, by the names of LEGS."""
    repair: Mapping[str, int] | None = _maybe(_by_name(REPAIRS, _count))
    """Packets since the session began, by the names of REPAIRS."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """One host. It names no room: the node knows whose socket it came on."""

    agent: str = _of(_agent)
    """The agent's version."""
    state: str = _of(_name(STATES))
    uptime_s: float = _of(_number(0, 1e10))
    sessions: tuple[SessionFigures, ...] = _of(_sessions)
    cpu: float | None = _maybe(_share)
    """Of all processors, 0 to 1."""
    gpu: float | None = _maybe(_share)
    gpu_encoder: float | None = _maybe(_share)


def _checked(shape: type[Any], value: Value, where: str) -> Any:
    if type(value) is not dict:
        raise TelemetryError(f"{where}: expected a map")
    found: dict[str, Value] = {}
    for field in fields(shape):
        got = value.get(field.name)
        if got is not None:
            found[field.name] = field.metadata["check"](f"{where}.{field.name}", got)
        elif field.default is dataclasses.MISSING:
            raise TelemetryError(f"{where}.{field.name}: missing")
    return shape(**found)


def decode(frame: bytes) -> Telemetry:
    """The values of one frame; unknown keys are ignored. Raises TelemetryError."""
    if len(frame) > MAX_FRAME_BYTES:
        raise TelemetryError(f"frame: expected at most {MAX_FRAME_BYTES} bytes, got {len(frame)}")
    try:
        value = msgpack.unpackb(frame)
    except (ValueError, RecursionError, msgpack.UnpackException):
        raise TelemetryError("frame: expected msgpack") from None
    if (
        type(value) is not dict
        or type(value.get("version")) is not int
        or value["version"] != VERSION
    ):
        raise TelemetryError(f"frame: expected a map with version {VERSION}")
    return cast(Telemetry, _checked(Telemetry, value, "frame"))


def _plain(value: Any) -> Value:
    if dataclasses.is_dataclass(value):
        rows = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: _plain(entry) for name, entry in rows.items() if entry is not None}
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value


def encode(telemetry: Telemetry) -> bytes:
    """The frame; what is not known is left out."""
    return bytes(msgpack.packb({"version": VERSION, **_plain(telemetry)}))
