"""Stock aiortc, as its webcam example uses it: x11grab into RTCPeerConnection with its own encoder.

As it comes: VP8, which the browser offers first. Raw frames of FFmpeg's grabber carry the picture type I, and
aiortc's VP8 encoder keeps it, so every frame is a key frame; its bitrate is its own choice.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.base import Command, StreamSettings, this_python, version_of

FPS = 30  # at 60 its encoder falls behind and the age of frames grows without end


class AiortcStock:
    """`aiortc_host.py` beside this file, in the benchmark's own environment."""

    name = "aiortc"

    def prepare(self) -> str:
        """Nothing to install; returns the versions."""
        python = this_python()
        return f"aiortc {version_of(python, 'aiortc')}, av {version_of(python, 'av')}"

    def command(self, stream: StreamSettings, port: int, home: Path) -> Command:
        """The host script on a loopback port; it ignores the bitrate, for aiortc has no such setting."""
        argv = [this_python(), "-m", "benchmarks.peers.aiortc_host"]
        argv += ["--port", str(port), "--display", stream.display, "--fps", str(FPS)]
        argv += ["--size", f"{stream.width}x{stream.height}"]
        root = str(Path(__file__).resolve().parents[2])
        return Command(argv, f"http://127.0.0.1:{port}/", "video", env={"PYTHONPATH": root})
