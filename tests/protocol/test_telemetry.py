"""Telemetry of hosts: golden frames, every field's limits, and whatever else comes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.protocol import telemetry
from cluster.protocol.telemetry import (
    MAX_FRAME_BYTES,
    MAX_SESSIONS,
    SessionFigures,
    Telemetry,
    TelemetryError,
    decode,
    encode,
)
from tests.fuzz import fuzz_cases
from tests.vectors import load

VECTORS = load("telemetry")
SESSION = SessionFigures(
    codec="h264",
    encoder="x264",
    path="direct",
    congestion="hold",
    width=1920,
    height=1080,
    encode_fps=59.9,
    target_bps=20e6,
    sent_bps=18.5e6,
    stages_s={"capture": 0.001, "convert": 0.0008, "encode": 0.004, "send": 0.0002},
    dropped={"replaced": 3},
    rtt_s=0.012,
    loss=0.001,
)
BUSY = Telemetry("0.1.0", "streaming", 3600.5, (SESSION,), cpu=0.25)
IDLE = Telemetry("0.1.0", "idle", 2.0, ())


def _frame(**changes: Any) -> bytes:
    return bytes(msgpack.packb(msgpack.unpackb(encode(BUSY)) | changes))


def _with_session(**changes: Any) -> bytes:
    return _frame(sessions=[msgpack.unpackb(encode(BUSY))["sessions"][0] | changes])


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda v: v["name"])
def test_a_golden_frame_is_read_as_what_it_means(vector: Any) -> None:
    frame = bytes.fromhex(vector["hex"])
    assert decode(frame) == {"busy": BUSY, "idle": IDLE}[vector["means"]]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda v: v["name"])
def test_an_invalid_frame_is_refused(vector: Any) -> None:
    with pytest.raises(TelemetryError):
        decode(bytes.fromhex(vector["hex"]))


def test_the_golden_frames_are_what_we_write() -> None:
    written = {vector["name"]: bytes.fromhex(vector["hex"]) for vector in VECTORS["valid"]}
    assert written["busy"] == encode(BUSY)
    assert written["idle"] == encode(IDLE)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rtt_s", math.nan),
        ("rtt_s", math.inf),
        ("rtt_s", -0.001),
        ("rtt_s", "0.1"),
        ("rtt_s", True),
        ("loss", 1.01),
        ("sent_bps", 1e12),
        ("encode_fps", -math.inf),
        ("width", 16385),
        ("width", 1.5),
        ("freezes", -1),
        ("codec", 7),
        ("codec", b"h264"),
        ("stages_s", []),
        ("stages_s", {"encode": math.nan}),
        ("legs_s", {"click_to_photon": 10.1}),
        ("legs_s", [0.1]),
        ("dropped", {"replaced": 0.5}),
        ("width", None),
    ],
)
def test_a_figure_out_of_its_range_or_type_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(TelemetryError, match=rf"sessions\[0\]\.{key}"):
        decode(_with_session(**{key: value}))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": True},
        {"version": None},
        {"agent": "a" * 33},
        {"agent": "a b"},
        {"agent": ""},
        {"uptime_s": math.nan},
        {"sessions": {}},
        {"sessions": [None]},
        {"sessions": [{}]},
        {"cpu": 1.5},
    ],
)
def test_a_wrong_host_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TelemetryError):
        decode(_frame(**changes))


def test_a_name_that_is_not_known_is_other_and_never_a_label_of_its_own() -> None:
    frame = _with_session(codec="h266", encoder="x" * 500, path="carrier pigeon", congestion="")
    session = decode(frame).sessions[0]
    assert (session.codec, session.encoder, session.path) == ("other", "other", "other")
    assert decode(_frame(state="asleep")).state == "other"


def test_unknown_keys_are_ignored_at_every_depth() -> None:
    stages = {"encode": 0.004, "teleport": 1}
    frame = _with_session(stages_s=stages, dropped={"eaten": "x"}, host="another", extra=[1])
    session = decode(frame).sessions[0]
    assert session.stages_s == {"encode": 0.004}
    assert session.dropped == {}
    legs = {"network": 0.01, "telepathy": 0.0}
    assert decode(_with_session(legs_s=legs)).sessions[0].legs_s == {"network": 0.01}
    assert decode(_with_session(legs_s=None)).sessions[0].legs_s is None
    assert decode(_frame(room="another", sessions=[])) == dataclasses.replace(BUSY, sessions=())


def test_the_largest_valid_telemetry_fits_a_frame() -> None:
    session = SessionFigures(
        codec=max(telemetry.CODECS, key=len),
        encoder=max(telemetry.ENCODERS, key=len),
        path="unknown",
        congestion="unknown",
        width=16384,
        height=16384,
        encode_fps=1000.0,
        target_bps=1e11,
        sent_bps=1e11,
        stages_s=dict.fromkeys(telemetry.STAGES, 10.0),
        dropped=dict.fromkeys(telemetry.DROPS, 1 << 40),
        capture_fps=1000.0,
        rtt_s=3600.0,
        loss=1.0,
        jitter_s=3600.0,
        freezes=1 << 40,
        legs_s=dict.fromkeys(telemetry.LEGS, 10.0),
        repair=dict.fromkeys(telemetry.REPAIRS, 1 << 40),
    )
    sessions = (session,) * MAX_SESSIONS
    whole = Telemetry("9" * 32, "streaming", 1e10, sessions, cpu=1.0, gpu=1.0, gpu_encoder=1.0)
    assert decode(encode(whole)) == whole
    assert len(encode(whole)) <= MAX_FRAME_BYTES
    with pytest.raises(TelemetryError, match="at most 64"):
        decode(encode(dataclasses.replace(whole, sessions=(SESSION,) * (MAX_SESSIONS + 1))))


def test_a_frame_that_is_too_long_is_not_read_at_all() -> None:
    with pytest.raises(TelemetryError, match="bytes"):
        decode(encode(IDLE) + b"\xc0" * MAX_FRAME_BYTES)


def test_a_frame_is_refused_when_it_is_cut_anywhere() -> None:
    frame = encode(BUSY)
    for end in range(len(frame)):
        with pytest.raises(TelemetryError):
            decode(frame[:end])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats()
    | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(telemetry.STAGES), inner, max_size=4)
    ),
    max_leaves=20,
)  # fmt: skip


@fuzz_cases(3000)
@given(st.binary(max_size=300) | VALUES.map(msgpack.packb))
def test_any_bytes_are_refused(frame: bytes) -> None:
    with pytest.raises(TelemetryError):
        decode(frame)


@fuzz_cases(3000)
@given(st.data())
def test_a_damaged_frame_is_refused_or_read_within_its_limits(data: st.DataObject) -> None:
    host = msgpack.unpackb(encode(BUSY))
    into = data.draw(st.sampled_from([host, host["sessions"][0]]))
    into[data.draw(st.sampled_from(sorted(into)))] = data.draw(VALUES)
    try:
        found = decode(msgpack.packb(host))
    except TelemetryError:
        return
    again = decode(encode(found))
    assert again == found
    for session in found.sessions:
        for value in dataclasses.astuple(session):
            if isinstance(value, float):
                assert math.isfinite(value)
            elif isinstance(value, str):
                assert len(value) <= 15
