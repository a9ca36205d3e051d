"""A screen host of stock aiortc parts only: MediaPlayer on x11grab, one page, one offer and answer."""

from __future__ import annotations

import argparse
import asyncio

import uvicorn
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

PAGE = """<!doctype html><meta charset="utf-8"><title>aiortc</title>
<style>body{margin:0}</style><video autoplay muted playsinline></video>
<script type="module">
const connection = new RTCPeerConnection();
connection.addTransceiver("video", { direction: "recvonly" });
connection.ontrack = (event) => {
  document.querySelector("video").srcObject = event.streams[0] ?? new MediaStream([event.track]);
};
await connection.setLocalDescription();
await new Promise((resolve) => {
  const done = () => connection.iceGatheringState === "complete" && resolve();
  connection.addEventListener("icegatheringstatechange", done);
  done();
});
const { sdp, type } = connection.localDescription;
const reply = await fetch("/offer", { method: "POST", body: JSON.stringify({ sdp, type }) });
await connection.setRemoteDescription(await reply.json());
</script>"""


def build_app(display: str, size: str, fps: int) -> Starlette:
    """The page and its one endpoint."""
    connections: set[RTCPeerConnection] = set()

    async def page(_request: Request) -> HTMLResponse:
        return HTMLResponse(PAGE)

    async def offer(request: Request) -> JSONResponse:
        message = await request.json()
        connection = RTCPeerConnection()
        connections.add(connection)
        options = {"video_size": size, "framerate": str(fps), "draw_mouse": "0"}
        player = await asyncio.to_thread(MediaPlayer, display, "x11grab", options)
        if player.video is None:
            raise RuntimeError(f"x11grab opened {display} but gave no video")
        connection.addTrack(player.video)
        await connection.setRemoteDescription(RTCSessionDescription(**message))
        await connection.setLocalDescription(await connection.createAnswer())
        local = connection.localDescription
        return JSONResponse({"sdp": local.sdp, "type": local.type})

    return Starlette(routes=[Route("/", page), Route("/offer", offer, methods=["POST"])])


def main() -> None:
    """Parse the command line and serve on loopback."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--display", required=True)
    parser.add_argument("--size", required=True)
    parser.add_argument("--fps", type=int, required=True)
    options = parser.parse_args()
    app = build_app(options.display, options.size, options.fps)
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
