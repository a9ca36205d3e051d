"""Ours: `tightbeam up` as a user starts it, sharing the benchmark's display without pairing."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.base import (
    Command,
    PeerUnavailable,
    StreamSettings,
    this_python,
    version_of,
)

ROOM = "desk"


class Tightbeam:
    """The installed `tightbeam` command beside the benchmark's interpreter."""

    name = "ours"

    def prepare(self) -> str:
        """Nothing to install; returns the versions, or says that the command is missing."""
        if not self._script().exists():
            raise PeerUnavailable(f"no {self._script()}: run `make setup` first")
        return f"tightbeam {version_of(this_python(), 'tightbeam')}"

    def command(self, stream: StreamSettings, port: int, home: Path) -> Command:
        """The whole product in one command on a loopback port."""
        argv = [str(self._script()), "up", "--no-pairing", "--port", str(port)]
        argv += ["--room", ROOM, "--source", "x11"]
        argv += ["--size", f"{stream.width}x{stream.height}", "--fps", str(stream.fps)]
        argv += ["--bitrate", f"{stream.bitrate_bps / 1e6:g}"]
        env = {"TIGHTBEAM_INDICATOR": "0"}  # it would cover the clock that is read back
        env |= {"PULSE_SERVER": stream.sound.server} if stream.sound else {"TIGHTBEAM_AUDIO": "0"}
        return Command(
            argv,
            f"http://127.0.0.1:{port}/#room={ROOM}",
            "video#screen",
            env=env,
            click_selector="button#connect",
        )

    @staticmethod
    def _script() -> Path:
        return Path(this_python()).with_name("tightbeam")
