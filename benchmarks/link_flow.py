"""A TCP flow with endless data from the host's to the viewer's end of the emulated link: CUBIC of the kernel."""

from __future__ import annotations

import argparse
import contextlib
import socket
import threading
import time
from typing import Final

from benchmarks.namespaces import VIEWER, enter

PORT: Final = 10
CHUNK: Final = bytes(1 << 16)
STOP_S: Final = 1.0


def main() -> None:
    """Send from one time to another, in seconds from now."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.link_flow", description=__doc__)
    parser.add_argument("host", help="path of the sending end's namespace")
    parser.add_argument("viewer", help="path of the receiving end's namespace")
    parser.add_argument("start", type=float, help="seconds")
    parser.add_argument("end", type=float, help="seconds")
    options = parser.parse_args()
    began_s = time.monotonic()
    enter(options.viewer)
    server = socket.create_server((VIEWER, PORT))
    enter(options.host)
    time.sleep(max(0.0, options.start))
    sender = socket.socket()
    sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    sender.connect((VIEWER, PORT))
    receiver, _ = server.accept()
    threading.Thread(target=_drain, args=(receiver,), daemon=True).start()
    sender.settimeout(STOP_S)
    while time.monotonic() - began_s < options.end:
        with contextlib.suppress(TimeoutError):
            sender.send(CHUNK)


def _drain(receiver: socket.socket) -> None:
    while receiver.recv(len(CHUNK)):
        pass


if __name__ == "__main__":
    main()
