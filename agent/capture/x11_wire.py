"""Requests with a reply on python-xlib's own connection, without the objects that it makes of each of them.

For what is asked for every picture: python-xlib 0.33 takes twice the time, and three times it where caches are cold.
Source: X Window System Protocol, X Version 11, section 1 ("Protocol Formats") and appendix B.

Leans on private names of python-xlib 0.33: `request_queue`, `request_serial`, `data_send`, `data_recv`,
`recv_packet_len`, `event_queue`, `parse_response` and `close_internal`.
"""

from __future__ import annotations

import select
import sys
import time
from typing import Any, Final

from Xlib import display, error

REPLY_LIMIT_S = 2.0
"""A server that has not answered for this long is taken as gone (stopped, or swapped out)."""
RECEIVED_BYTES: Final = 65_536
_PACKET_BYTES: Final = 32
_ERROR, _REPLY, _GENERIC_EVENT = 0, 1, 35


class ServerSilent(Exception):
    """The X server did not answer within REPLY_LIMIT_S."""


class Wire:
    """Used between calls of python-xlib, on the thread that makes those; `noted` is an event that comes often."""

    def __init__(self, server: display.Display, noted: int) -> None:
        self._server = server
        self._display = server.display
        self._noted = noted
        self.has_noted = False
        """Whether such an event came; for its reader to set back."""
        self._answers: dict[int, bytes] = {}
        """By the serials of what is waited for; empty: not there yet."""

    def ask(self, requests: bytes, *counts: int) -> list[bytes]:
        """The replies to requests, of which each `counts` has one, to its last.

        Raises XError when one of these is refused, ServerSilent with the connection closed, and what python-xlib
        raises when the server is gone.
        """
        shared = self._display
        if shared.request_queue:
            shared.flush()
        next_serial = shared.request_serial
        answers = self._answers = {}
        for count in counts:
            next_serial = (next_serial + count) & 0xFFFF
            answers[(next_serial - 1) & 0xFFFF] = b""
        shared.request_serial = next_serial
        unsent, shared.data_send = shared.data_send, b""
        shared.socket.sendall(unsent + requests)
        deadline = time.monotonic() + REPLY_LIMIT_S
        while not all(answers.values()):
            remaining_s = max(deadline - time.monotonic(), 0.0)
            if not select.select([shared.socket], [], [], remaining_s)[0]:
                shared.close_internal("silent server")  # for python-xlib a late reply is an error
                raise ServerSilent
            self._read()
        for answer in answers.values():
            if answer[0] == _ERROR:
                raise shared.error_classes.get(answer[1], error.XError)(shared, answer)
        return list(answers.values())

    def events(self) -> list[Any]:
        """What was received and not taken yet, but for `noted`."""
        return [self._server.next_event() for _ in range(len(self._display.event_queue))]

    def receive(self) -> None:
        """Take what is there, and wait for nothing."""
        if select.select([self._display.socket], [], [], 0)[0]:
            self._read()

    def _read(self) -> None:
        """What is not ours is python-xlib's."""
        shared = self._display
        received = shared.socket.recv(RECEIVED_BYTES)
        if not received:
            shared.close_internal("server")
            shared.check_for_error()
        received = bytes(shared.data_recv) + received
        begin = 0
        while (end := _end(received, begin)) <= len(received):
            kind = received[begin]
            if kind & 0x7F == self._noted:
                self.has_noted = True
            elif kind in (_ERROR, _REPLY) and _serial(received, begin) in self._answers:
                self._answers[_serial(received, begin)] = received[begin:end]
            else:
                shared.data_recv, shared.recv_packet_len = received[begin:end], 0
                shared.parse_response(None)
            begin = end
        shared.data_recv, shared.recv_packet_len = received[begin:], 0


def _end(received: bytes, begin: int) -> int:
    """Where the packet ends; beyond what was received when not all of it is there."""
    end = begin + _PACKET_BYTES
    if end <= len(received) and received[begin] & 0x7F in (_REPLY, _GENERIC_EVENT):
        end += 4 * int.from_bytes(received[begin + 4 : begin + 8], sys.byteorder)
    return end


def _serial(received: bytes, begin: int) -> int:
    return int.from_bytes(received[begin + 2 : begin + 4], sys.byteorder)
