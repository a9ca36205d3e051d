"""M4, the encoder: CPU time from a captured 1920x1080 BGRA picture to its access unit, at one rate.

Every subject encodes the same pictures: the texture of M3 that moves under the left and the right half of the
screen, at 60 fps and 12 Mbit/s, to Constrained Baseline. CPU time is that of the subject's whole process.

ours       the encoder that `tightbeam-agent` opens for H.264 (here libx264), conversion included
with room  the same where the path has room for large pictures: one quantiser a picture, no rate buffer
aiortc     aiortc's own H.264 encoder, fed as its tracks do; it knows no rate above 3 Mbit/s and no more than 30 fps
ffmpeg     Debian's command line: rawvideo on a pipe, -preset ultrafast -tune zerolatency, a rate buffer of one picture

PSNR is that of luma against the picture by the subject's own matrix; CPU time compares only where it is within half
a decibel. Rounds are interleaved (A B A B), the table shows medians, a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import importlib.metadata
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import Any, Final, cast

import av
import numpy as np
import numpy.typing as npt

from agent import backends
from agent.capture.base import Frame
from agent.encode.base import EncoderSettings
from benchmarks.command import make_parser
from benchmarks.m3_scene import SPEED_PX_PER_S, TILE_PX, Size, background, luma
from benchmarks.report import OURS, Environment, Metric, Report, Results

SIZE: Final = Size(1920, 1080)
FPS: Final = 60
RATE_BPS: Final = 12_000_000
KEPT: Final = 40
"""Different pictures in memory, shown forth and back."""
FFMPEG: Final = (
    "-f rawvideo -pix_fmt bgra -s {size} -r {fps} -i - -pix_fmt yuv420p -c:v libx264"
    " -preset ultrafast -tune zerolatency -profile:v baseline -g 1000000"
    " -b:v {rate} -maxrate {rate} -bufsize {buffer} -f h264 -"
)
CPU: Final = Metric("CPU a picture", "ms", 2)
RATE: Final = Metric("bitrate", "Mbit/s", 2, ratio=False)
QUALITY: Final = Metric("PSNR", "dB", 2, ratio=False)

Pixels = npt.NDArray[np.uint8]
Encode = Callable[[list[Pixels], int], tuple[float, list[bytes]]]
"""Pictures and how many to encode of them: CPU seconds of all, and an access unit or piece of stream each."""


def pictures(size: Size) -> list[Pixels]:
    """BGRA pictures of the moving scene."""
    whole = background(size)[:, :, ::-1]
    half = size.width // 2
    found = []
    for number in range(KEPT):
        picture: Pixels = np.full((size.height, size.width, 4), 255, np.uint8)
        for left, (x, y) in zip((0, half), SPEED_PX_PER_S, strict=True):
            right, down = (int(v * number / FPS) % TILE_PX for v in (x, y))
            part = whole[down : down + size.height, left + right : left + right + half]
            picture[:, left : left + half, :3] = part
        found.append(picture)
    return found


def shown(kept: list[Pixels], count: int) -> Iterator[Pixels]:
    """`count` pictures, forth and back."""
    for number in range(count):
        turn, place = divmod(number, len(kept))
        yield kept[place if turn % 2 == 0 else -1 - place]


def ours(kept: list[Pixels], count: int, *, room: bool = False) -> tuple[float, list[bytes]]:
    """As the encode stage does."""
    settings = EncoderSettings(SIZE.width, SIZE.height, FPS, RATE_BPS, room=room)
    encoder = backends.open_encoder("H264", settings)
    started, units = time.process_time(), []
    for number, pixels in enumerate(shown(kept, count)):
        frame = Frame(pixels, number, 0, lambda: None)
        units.append(encoder.encode(frame, keyframe=False).payload)
    spent = time.process_time() - started
    encoder.close()
    return spent, units


def aiortc(kept: list[Pixels], count: int) -> tuple[float, list[bytes]]:
    """aiortc's encoder without its packetizer."""
    from aiortc.codecs.h264 import H264Encoder

    encoder: Any = H264Encoder()
    encoder.target_bitrate = RATE_BPS
    started, units = time.process_time(), []
    for number, pixels in enumerate(shown(kept, count)):
        frame = av.VideoFrame.from_ndarray(pixels, format="bgra")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        nal_units = encoder._encode_frame(frame, number == 0)
        units.append(b"".join(b"\0\0\0\1" + bytes(nal) for nal in nal_units))
    return time.process_time() - started, units


def ffmpeg(kept: list[Pixels], count: int) -> tuple[float, list[bytes]]:
    """The command, its children's CPU time, and its stream in one piece."""
    options = FFMPEG.format(
        size=f"{SIZE.width}x{SIZE.height}", fps=FPS, rate=RATE_BPS, buffer=RATE_BPS // FPS
    )
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-threads", "2", *options.split()]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        pipe = process.stdin
        assert pipe is not None

        def feed() -> None:
            for pixels in shown(kept, count):
                pipe.write(pixels.tobytes())
            pipe.close()

        feeder = threading.Thread(target=feed, name="feeder")
        feeder.start()
        assert process.stdout is not None
        stream = process.stdout.read()
        feeder.join()
    if process.returncode:
        raise RuntimeError(f"ffmpeg ended with {process.returncode}: {' '.join(command)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, [stream]


SUBJECTS: Final[dict[str, Encode]] = {
    OURS: ours,
    "with room": partial(ours, room=True),
    "aiortc": aiortc,
    "ffmpeg": ffmpeg,
}


def psnr_db(units: list[bytes], kept: list[Pixels], count: int) -> float:
    """Mean luma PSNR of every tenth picture in the second half."""
    decoder = cast(Any, av.CodecContext.create("h264", "r"))
    parsed = [packet for unit in units for packet in decoder.parse(unit)] + decoder.parse(None)
    decoded = [frame for packet in [*parsed, None] for frame in decoder.decode(packet)]
    found = []
    for number, pixels in enumerate(shown(kept, count)):
        if number < count // 2 or number % 10 or number >= len(decoded):
            continue
        got = decoded[number].to_ndarray(format="yuv420p")[: SIZE.height].astype(np.float64)
        rgb: Pixels = pixels[:, :, 2::-1]
        errors = [float(np.mean((luma(rgb, bt709=b) - got) ** 2)) for b in (False, True)]
        found.append(10 * np.log10(255**2 / min(errors)))
    return float(np.mean(found))


def run(rounds: int, count: int) -> Report:
    """All subjects in turn."""
    results, kept = Results(), pictures(SIZE)
    skipped = {} if shutil.which("ffmpeg") else {"ffmpeg": "no ffmpeg: apt-get install ffmpeg"}
    subjects = [name for name in SUBJECTS if name not in skipped]
    versions = {name: importlib.metadata.version(name) for name in ("av", "aiortc")}
    for _ in range(rounds):
        for name in subjects:
            cpu_s, units = SUBJECTS[name](kept, count)
            results.add("motion", CPU, name, cpu_s * 1000 / count)
            rate_bps = sum(map(len, units)) * 8 * FPS / count
            results.add("motion", RATE, name, rate_bps / 1e6)
            results.add("motion", QUALITY, name, psnr_db(units, kept, count))
    title = f"M4: BGRA {SIZE.width}x{SIZE.height} to access unit"
    return Report(title, Environment.now(versions), results, subjects, skipped)


def main() -> int:
    """0 when all was measured."""
    parser = make_parser("m4", __doc__, seconds=2)
    arguments = parser.parse_args()
    report = run(arguments.rounds, int(arguments.seconds * FPS))
    print(report.text())
    if arguments.json is not None:
        report.write_json(arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
