"""V1's far end, a process of its own: stock aiortc clients that connect and count the frames that they throw away."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription


class Viewer:
    """One of them. Media is taken out before it is decrypted, so that the far end costs little."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.addTransceiver("video", direction="recvonly")
        self.frames = self.octets = 0

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        transport: Any = self.pc.getTransceivers()[0].receiver.transport.transport
        receive = transport._recv

        async def receive_control() -> bytes:
            while True:
                packet: bytes = await receive()
                if not 128 <= packet[0] < 192 or 64 <= packet[1] & 0x7F < 96:
                    return packet
                self.frames += packet[1] >> 7  # the marker bit: the last packet of a frame
                self.octets += len(packet)

        transport._recv = receive_control
        return str(self.pc.localDescription.sdp)


async def main() -> None:
    """Offers on standard output, answers on standard input, then counts for each line, until the input ends."""
    viewers = [Viewer() for _ in range(int(sys.argv[1]))]
    loop = asyncio.get_running_loop()
    for viewer in viewers:
        print(json.dumps({"sdp": await viewer.offer()}), flush=True)
        line = await loop.run_in_executor(None, sys.stdin.readline)
        answer = RTCSessionDescription(json.loads(line)["sdp"], "answer")
        await viewer.pc.setRemoteDescription(answer)
    while await loop.run_in_executor(None, sys.stdin.readline):
        counts = {
            "each": [viewer.frames for viewer in viewers],
            "octets": sum(viewer.octets for viewer in viewers),
        }
        print(json.dumps(counts), flush=True)
    await asyncio.gather(*(viewer.pc.close() for viewer in viewers))


if __name__ == "__main__":
    asyncio.run(main())
