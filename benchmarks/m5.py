"""M5: a step of the rate while everything moves: 8, 2, 20 and 5 Mbit/s, a second each; what each encoder does.

1280x720 at 60 fps, the scene of M4. Counted in pictures, so that a busy machine changes nothing.

frames       pictures after the step until three in a row are within 15 % of what the rate settles at
key frames   made by the step: what a viewer waits for
biggest      picture after the step, over the budget of one at the new rate
settled      mean rate of the second half, in per cent of what was asked for

aiortc's own encoders know no rate above 3 (H.264) and 1.5 Mbit/s (VP8): here these limits are lifted.
"""

from __future__ import annotations

import importlib.metadata
import statistics
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Final

import av

from agent import backends
from agent.capture.base import Frame
from agent.encode.base import EncoderSettings
from benchmarks.command import make_parser
from benchmarks.m3_scene import Size
from benchmarks.m4 import Pixels, pictures, shown
from benchmarks.report import Environment, Metric, Report, Results

SIZE: Final = Size(1280, 720)
FPS: Final = 60
RATES_BPS: Final = (8_000_000, 2_000_000, 20_000_000, 5_000_000)
NEAR: Final = 0.15
IN_A_ROW: Final = 3

FRAMES: Final = Metric("frames", "", 0, ratio=False)
KEYFRAMES: Final = Metric("key frames", "", 0, ratio=False)
BIGGEST: Final = Metric("biggest", "x budget", 2, ratio=False)
SETTLED: Final = Metric("settled", "%", 0, ratio=False)

Unit = tuple[int, bool]
"""Its size in bytes, and whether it is a key frame."""
Encode = Callable[[Pixels, int], Unit]
"""A picture at a rate in bit/s."""


def ours(backend: Any) -> Encode:
    """One of our encoders, as the encode stage uses it."""
    encoder = backend(EncoderSettings(SIZE.width, SIZE.height, FPS, RATES_BPS[0]))

    def encode(pixels: Pixels, rate_bps: int) -> Unit:
        encoder.set_bitrate(rate_bps)
        unit = encoder.encode(Frame(pixels, 0, 0, lambda: None), keyframe=False)
        return len(unit.payload), unit.keyframe

    return encode


def _as_aiortc_does(encoder: Any, is_keyframe: Callable[[bytes], bool]) -> Encode:
    count = 0

    def encode(pixels: Pixels, rate_bps: int) -> Unit:
        nonlocal count
        frame = av.VideoFrame.from_ndarray(pixels, format="bgra").reformat(format="yuv420p")
        frame.pts, frame.time_base = count, Fraction(1, FPS)
        count += 1
        encoder.target_bitrate = rate_bps
        payloads, _ = encoder.encode(frame)
        return sum(map(len, payloads)), is_keyframe(payloads[0])

    return encode


def aiortc_h264() -> Encode:
    """With its limit lifted; the first payload of a key frame is a STAP-A that begins with an SPS (RFC 6184)."""
    from aiortc.codecs import h264

    h264.MAX_BITRATE = 2 * max(RATES_BPS)

    def is_keyframe(payload: bytes) -> bool:
        kind = payload[0] & 31
        return kind == 7 or (kind == 24 and payload[3] & 31 == 7)

    return _as_aiortc_does(h264.H264Encoder(), is_keyframe)


def aiortc_vp8() -> Encode:
    """With its limit lifted; the first bit of a VP8 frame is 0 for a key frame (RFC 6386 9.1)."""
    from aiortc.codecs import vpx

    vpx.MAX_BITRATE = 2 * max(RATES_BPS)

    def is_keyframe(payload: bytes) -> bool:
        descriptor = vpx.VpxPayloadDescriptor.parse(payload)[1]
        return not descriptor[0] & 1

    return _as_aiortc_does(vpx.Vp8Encoder(), is_keyframe)


def subjects() -> Iterator[tuple[str, Callable[[], Encode]]]:
    """Ours that can be used here, then aiortc's."""
    for _, load in backends.backends("encoder"):
        backend = load()
        if backend.probe() is None:
            yield f"{backend.name} {backend.codec}", lambda backend=backend: ours(backend)  # type: ignore[misc]
    yield "aiortc H264", aiortc_h264
    yield "aiortc VP8", aiortc_vp8


def play(encode: Encode, kept: list[Pixels], seconds: float) -> Iterator[tuple[int, list[Unit]]]:
    """The rates in turn, and what came out at each."""
    each = int(seconds * FPS)
    source = shown(kept, each * len(RATES_BPS))
    for rate_bps in RATES_BPS:
        yield rate_bps, [encode(next(source), rate_bps) for _ in range(each)]


def frames_to_settle(sizes: list[int]) -> int:
    """Pictures before the first of three in a row that are near what comes at the end."""
    settled = statistics.fmean(sizes[len(sizes) // 2 :])
    near = [abs(size - settled) <= NEAR * settled for size in sizes]
    rows = range(len(sizes) - IN_A_ROW + 1)
    return next((n for n in rows if all(near[n : n + IN_A_ROW])), len(sizes))


def run(seconds: float, only_ours: bool) -> Report:
    """Every encoder once: nothing here depends on the machine's speed."""
    results, kept, names = Results(), pictures(SIZE), []
    for name, make in subjects():
        if only_ours and name.startswith("aiortc"):
            continue
        names.append(name)
        before_bps = 0
        for rate_bps, units in play(make(), kept, seconds):
            if before_bps:  # the first rate is no step
                scenario = f"{before_bps // 10**6} to {rate_bps // 10**6} Mbit/s"
                sizes = [size for size, _ in units]
                budget = rate_bps / 8 / FPS
                half = sizes[len(sizes) // 2 :]
                results.add(scenario, FRAMES, name, frames_to_settle(sizes))
                results.add(scenario, KEYFRAMES, name, sum(keyframe for _, keyframe in units))
                results.add(scenario, BIGGEST, name, max(sizes) / budget)
                results.add(scenario, SETTLED, name, 100 * statistics.fmean(half) / budget)
            before_bps = rate_bps
    versions = {name: importlib.metadata.version(name) for name in ("av", "aiortc")}
    return Report("M5: a step of the rate", Environment.now(versions), results, names, {})


def main() -> int:
    """0 when all was measured."""
    arguments = make_parser("m5", __doc__, rounds=1, seconds=1).parse_args()
    report = run(arguments.seconds, arguments.only_ours)
    print(report.text())
    if arguments.json is not None:
        report.write_json(arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
