"""A program beside a node: `probe PORT PATH`, `connect PORT` print a status, `stay PORT SECRET N` is N hosts.

Each host goes when the node has asked it to; one more is deaf and stays. What they were told is printed at the end.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
import urllib.error
import urllib.request

import websockets

from cluster.auth import Grant, Signer
from cluster.protocol.messages import RoomId
from tests.cluster.support import Peer, hello


def probe(port: str, path: str) -> int:
    """As a kubelet asks; 0 when there is no answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def reach(port: str) -> int:
    """As a kubelet knocks."""
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=2).close()
    except OSError:
        return 0
    return 200


async def _enter(port: str, secret: str, room: str) -> Peer:
    token = Signer(secret).issue(Grant("host", RoomId(room), "host"), int(time.time()))
    peer = await hello(f"ws://127.0.0.1:{port}", room, "host", token=token)
    assert peer.welcome["type"] == "welcome", peer.welcome
    return peer


async def _until_asked(peer: Peer) -> float:
    told = json.loads(await peer.socket.recv())
    assert told["type"] == "reconnect", told
    await asyncio.sleep(told["afterMs"] / 1000)
    await peer.socket.close()
    return float(told["afterMs"])


async def stay(port: str, secret: str, count: int) -> None:
    peers = [await _enter(port, secret, f"room-{number}") for number in range(count)]
    deaf = await _enter(port, secret, "deaf")
    print("in", flush=True)
    told = await asyncio.gather(*map(_until_asked, peers))
    began = time.monotonic()
    try:
        while True:
            await deaf.socket.recv()
    except websockets.ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd is not None else None
    print(json.dumps({"told": told, "deaf": code, "after_s": time.monotonic() - began}))


if __name__ == "__main__":
    if sys.argv[1] == "probe":
        print(probe(*sys.argv[2:]))
    elif sys.argv[1] == "connect":
        print(reach(sys.argv[2]))
    else:
        asyncio.run(stay(sys.argv[2], sys.argv[3], int(sys.argv[4])))
