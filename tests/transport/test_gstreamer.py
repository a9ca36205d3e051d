"""GStreamer's webrtcbin plays what the agent sends: pictures, sound, and a data channel."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.audio.base import BLOCK_SAMPLES
from agent.audio.opus import OpusEncoder
from agent.audio.plan import OpusSettings
from agent.encode.base import VideoCodec
from agent.transport.peer import Peer
from tests.audio.speech import speech
from tests.eventually import until
from tests.transport.viewer import Feeder, Listener, access_units, options

VIEWER = Path(__file__).with_name("gstreamer_viewer.py")
PYTHON = "/usr/bin/python3"
"""The one that Debian's bindings of GStreamer belong to."""


class GStreamer:
    """The program, and the last that it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: dict[str, Any] = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.said |= json.loads(line)

    def say(self, **message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")


@asynccontextmanager
async def gstreamer(codec: VideoCodec) -> AsyncIterator[GStreamer]:
    process = await asyncio.create_subprocess_exec(
        PYTHON, str(VIEWER), codec, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield GStreamer(process)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.timeout(90)
@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_webrtcbin_plays_pictures_and_sound(codec: VideoCodec) -> None:
    listener = Listener()
    peer = Peer(listener, (), options())
    opus = OpusEncoder(OpusSettings(64_000, 0))
    try:
        async with gstreamer(codec) as viewer:
            await until(lambda: viewer.said.get("offer"), "an offer")
            viewer.say(answer=await peer.answer(viewer.said["offer"]))
            for candidate in listener.candidates:
                viewer.say(candidate=candidate.candidate, index=candidate.sdp_mline_index or 0)
            await until(lambda: listener.connected, "connection")
            await until(lambda: viewer.said.get("channel") == "open", "the data channel")
            await until(lambda: listener.channels == ["input"], "it on our side")
            with Feeder(peer, access_units(codec, 300), listener):
                for number, block in enumerate(speech(200)):
                    peer.send_audio(opus.encode(block), number * BLOCK_SAMPLES)
                    await asyncio.sleep(0.01)
                await until(lambda: viewer.said["pictures"] > 60, "pictures")
                await until(lambda: viewer.said["sounds"] > 60, "sound")
            assert min(viewer.said["size"]) >= 128
            assert listener.keyframes_wanted <= 2
    finally:
        await peer.close("test over")
