"""Selkies 2.1 from PyPI in its WebRTC mode: its own server, capture, encoder and page.

Its lowest-latency settings that keep the picture comparable: software H.264 at a constant bitrate that its page
may not change, sound as it comes where it is asked for, fixed size. Where a lowest bitrate is given its congestion
control may go down to it.
With `video-streaming-mode` on it was 0 to 1 ms later in short runs.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.base import Command, StreamSettings, ensure_venv, version_of

REQUIREMENT = "selkies==2.1.*"


def environment() -> Path:
    """The Python that has Selkies; installed when absent. Raises PeerUnavailable."""
    return ensure_venv("selkies", [REQUIREMENT], "selkies")


class Selkies:
    """`selkies --mode webrtc` in an environment of its own under the cache."""

    name = "selkies"

    def __init__(self) -> None:
        self._python: Path | None = None

    def prepare(self) -> str:
        """Install it when absent; returns its version and its capture library's."""
        self._python = environment()
        return (
            f"selkies {version_of(self._python, 'selkies')}, "
            f"pixelflux {version_of(self._python, 'pixelflux')}"
        )

    def command(self, stream: StreamSettings, port: int, home: Path) -> Command:
        """Its server on a loopback port without a login; the page starts the stream by itself."""
        if self._python is None:
            raise RuntimeError("prepare() comes first")
        kbps = stream.bitrate_bps // 1000
        options = {
            "mode": "webrtc",
            "addr": "127.0.0.1",
            "port": port,
            "enable-basic-auth": "false",
            "encoder": "h264enc",
            "use-cpu": "true",
            "auto-gpu": "false",
            "framerate": f"{stream.fps}-{stream.fps}",
            "rate-control-mode": "cbr",
            "video-bitrate": f"{kbps},{(stream.floor_bps or stream.bitrate_bps) // 1000}-{kbps}",
            "video-streaming-mode": "false",
            "manual-width": stream.width,
            "manual-height": stream.height,
            "enable-resize": "false",
            "audio-enabled": "true" if stream.sound else "false",
            "audio-device-name": f"{stream.sound.sink}.monitor" if stream.sound else "",
            "microphone-enabled": "false",
            "gamepad-enabled": "false",
            "webcam-enabled": "false",
            "second-screen": "false",
            "enable-clipboard": "false",
            "printing-enabled": "false",
        }
        argv = [str(self._python.with_name("selkies"))]
        argv += [f"--{name}={value}" for name, value in options.items()]
        env = {"PULSE_SERVER": stream.sound.server} if stream.sound else {}
        return Command(argv, f"http://127.0.0.1:{port}/", "video#stream", env=env)
