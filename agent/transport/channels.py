"""The data channels of one viewer: a few labels are welcome, all others are closed (docs/protocol.md 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiortc import RTCDataChannel

LABELS: Final = frozenset({"input", "stats", "cursor", "clipboard", "desk"})
MAX_BUFFERED_BYTES: Final = 64 * 1024
"""Overflow: the message is not sent, and the caller is told."""


class Channels:
    """Lives on the event loop."""

    def __init__(
        self, opened: Callable[[str], None], message: Callable[[str, bytes | str], None]
    ) -> None:
        self._opened = opened
        self._message = message
        self._channels: dict[str, RTCDataChannel] = {}

    def accept(self, channel: RTCDataChannel) -> None:
        """Take a channel that the viewer opened; a second one of a label replaces none and is closed."""
        label = channel.label
        if label not in LABELS or label in self._channels:
            channel.close()
            return
        self._channels[label] = channel
        channel.on("message", lambda payload: self._message(label, payload))
        channel.on("close", lambda: self._channels.pop(label, None))
        self._opened(label)

    def send(self, label: str, payload: bytes) -> bool:
        """Send a message; False when the channel is not open or too much is waiting."""
        channel = self._channels.get(label)
        if channel is None or channel.readyState != "open":
            return False
        if channel.bufferedAmount + len(payload) > MAX_BUFFERED_BYTES:
            return False
        channel.send(payload)
        return True

    def forget(self) -> None:
        """The connection is closed: drop all handlers."""
        for channel in self._channels.values():
            channel.remove_all_listeners()
        self._channels.clear()
