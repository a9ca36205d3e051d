"""M1's far end, a process of its own: a stock aiortc client that offers, connects and throws the media away."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription


def count_and_discard(pc: RTCPeerConnection) -> dict[str, int]:
    """Take media packets out before they are decrypted, so that the far end costs little."""
    counts = {"packets": 0, "bytes": 0}
    transport: Any = pc.getTransceivers()[0].receiver.transport.transport
    receive = transport._recv

    async def receive_control() -> bytes:
        while True:
            packet: bytes = await receive()
            if not 128 <= packet[0] < 192 or 64 <= packet[1] & 0x7F < 96:
                return packet
            counts["packets"] += 1
            counts["bytes"] += len(packet)

    transport._recv = receive_control
    return counts


async def main() -> None:
    """Offer on standard output, answer on standard input, then the counts when the input ends."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTransceiver("video", direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    counts = count_and_discard(pc)
    print(json.dumps({"sdp": pc.localDescription.sdp}), flush=True)
    loop = asyncio.get_running_loop()
    line = await loop.run_in_executor(None, sys.stdin.readline)
    answer = json.loads(line)["sdp"]
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await loop.run_in_executor(None, sys.stdin.readline)
    print(json.dumps(counts), flush=True)
    await pc.close()


if __name__ == "__main__":
    asyncio.run(main())
