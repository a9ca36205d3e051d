"""The CLIPBOARD selection of an X11 display, as owner and as requestor, in one message or in pieces (INCR).

Source: Inter-Client Communication Conventions Manual 2.0, section 2. Differs: MULTIPLE (2.6.2) is refused; its
requestors ask for the targets one by one then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from Xlib import X, Xatom
from Xlib.protocol import event as xevent

from agent.clipboard.base import MAX_TEXT_BYTES, READ_LIMIT_S, ClipboardUnavailable
from agent.probe import why_not
from agent.wake_pipe import WakePipe
from agent.x11 import close, connect, told_when_gone

_OWNER_MASK: Final = 1
"""XFixesSetSelectionOwnerNotifyMask (fixesproto 2, section 5)."""
PIECE_BYTES: Final = 64 * 1024
"""Of a property; a request without BIG-REQUESTS holds 256 KiB."""
TRANSFER_LIMIT_S: Final = 5.0
MAX_TRANSFERS: Final = 16
"""Texts that programs take in pieces at the same time; more are refused."""
SECRET: Final = "x-kde-passwordManagerHint"  # noqa: S105 - the name of a target
"""A target that password managers offer with what must not be kept or copied on."""
TEXT_TARGETS: Final = ("UTF8_STRING", "text/plain;charset=utf-8", "STRING")
"""In the order in which we ask for them; STRING is ISO 8859-1."""


@dataclass(slots=True)
class _Transfer:
    """A text on its way to a program in pieces."""

    window: Any
    type: int
    rest: bytes
    until: float


class XSelection:
    """See `Clipboard`."""

    name: ClassVar[str] = "xselection"

    def __init__(self, display_name: str | None = None) -> None:
        self._server = connect(ClipboardUnavailable, display_name, extension="XFIXES")
        self._waker = WakePipe()
        self._text: bytes | None = None
        """What was written, while the selection is ours."""
        self._owned_since = 0
        self._transfers: dict[tuple[int, int], _Transfer] = {}
        self._changed = False
        self._answers: list[Any] = []
        """Events that answer a conversion of ours."""
        try:
            with told_when_gone(ClipboardUnavailable):
                self._open()
        except ClipboardUnavailable:
            self.close()
            raise

    @staticmethod
    def probe() -> str | None:
        """None when the clipboard of $DISPLAY can be used, else the reason in words."""
        return why_not(XSelection, ClipboardUnavailable)

    def _open(self) -> None:
        server = self._server
        server.xfixes_query_version()
        self._owner_event = server.extension_event.SetSelectionOwnerNotify
        self._window = server.screen().root.create_window(
            -1, -1, 1, 1, 0, X.CopyFromParent, X.InputOnly, event_mask=X.PropertyChangeMask
        )
        names = ("CLIPBOARD", "TARGETS", "TIMESTAMP", "INCR", "TIGHTBEAM", SECRET, *TEXT_TARGETS)
        self._atoms = {name: int(server.intern_atom(name)) for name in names}
        self._texts = [self._atoms[name] for name in TEXT_TARGETS]
        self._selection, self._property = self._atoms["CLIPBOARD"], self._atoms["TIGHTBEAM"]
        server.xfixes_select_selection_input(self._window, self._selection, _OWNER_MASK)
        server.flush()

    # Of the family

    def next(self, timeout_s: float) -> bool | None:
        """See `Clipboard`."""
        end = time.monotonic() + timeout_s
        with told_when_gone(ClipboardUnavailable):
            while not self._pump() and time.monotonic() < end:
                if self._wait(end):
                    break
            if not self._changed:
                return None
            self._changed = False
            return self._best_target() is not None

    def read(self) -> str | None:
        """See `Clipboard`."""
        with told_when_gone(ClipboardUnavailable):
            if self._text is not None:
                return self._text.decode()
            target = self._best_target()
            if target is None:
                return None
            payload = self._convert(target, MAX_TEXT_BYTES)
        if payload is None:
            return None
        latin = target == self._atoms["STRING"]
        text = payload.decode("latin-1" if latin else "utf-8", errors="replace").replace("\0", "")
        return text if len(text.encode()) <= MAX_TEXT_BYTES else None

    def write(self, text: str) -> None:
        """See `Clipboard`."""
        with told_when_gone(ClipboardUnavailable):
            at = self._server_time()
            self._window.set_selection_owner(self._selection, at)
            owner = self._server.get_selection_owner(self._selection)
            if owner == X.NONE or owner.id != self._window.id:
                raise ClipboardUnavailable("the X server gave the clipboard to nobody")
            self._text, self._owned_since = text.encode(), at

    def wake(self) -> None:
        """See `Clipboard`."""
        self._waker.wake()

    def close(self) -> None:
        """See `Clipboard`; with the window the server takes the selection back."""
        if self._waker.close():
            close(self._server)

    # Events

    def _wait(self, end: float) -> bool:
        """Sleep until the server has something to say; whether `wake` did."""
        return self._waker.wait(self._server, end - time.monotonic())

    def _pump(self) -> bool:
        """Handle what has come; whether another program has changed the clipboard."""
        now = time.monotonic()
        for key in [key for key, transfer in self._transfers.items() if transfer.until < now]:
            del self._transfers[key]
        self._server.flush()
        # Until none is left: one that a reply brought with it would not wake `_wait`.
        while self._server.pending_events():
            self._handle(self._server.next_event())
        return self._changed

    def _handle(self, event: Any) -> None:
        if event.type == X.SelectionRequest:
            self._serve(event)
        elif event.type == X.PropertyNotify and event.window.id != self._window.id:
            if event.state == X.PropertyDelete:
                self._serve_piece(event.window.id, event.atom)
        elif event.type in (X.PropertyNotify, X.SelectionNotify):
            self._answers.append(event)
        elif event.type == X.SelectionClear:
            self._text = None
        elif (event.type, getattr(event, "sub_code", None)) == self._owner_event and (
            getattr(event.owner, "id", event.owner) != self._window.id
        ):
            self._text = None
            self._changed = True

    def _until(self, true: Callable[[Any], bool], end: float) -> Any | None:
        """The answer of which it is true; None: not in time."""
        while True:
            self._pump()
            answers, self._answers = self._answers, []
            for index, event in enumerate(answers):
                if true(event):
                    self._answers = answers[index + 1 :]
                    return event
            if time.monotonic() >= end:
                return None
            self._wait(end)

    def _server_time(self) -> int:
        """The server's clock, by an empty change of a property (ICCCM 2.1)."""
        self._answers = []
        self._window.change_property(self._property, Xatom.STRING, 8, b"", X.PropModeAppend)
        event = self._until(
            lambda event: event.type == X.PropertyNotify, time.monotonic() + READ_LIMIT_S
        )
        if event is None:
            raise ClipboardUnavailable("the X server does not answer")
        return int(event.time)

    # As requestor

    def _best_target(self) -> int | None:
        """In which form the owner has text for us, if it has."""
        payload = self._convert(self._atoms["TARGETS"], 4096)
        if payload is None:
            return None
        known = {int.from_bytes(payload[at : at + 4], "little") for at in range(0, len(payload), 4)}
        if self._atoms[SECRET] in known:
            return None
        return next((target for target in self._texts if target in known), None)

    def _convert(self, target: int, most_bytes: int) -> bytes | None:
        """What the owner gives for a target; None: nothing, too much, or not in time."""
        end = time.monotonic() + READ_LIMIT_S
        self._answers = []
        self._window.delete_property(self._property)
        self._window.convert_selection(self._selection, target, self._property, X.CurrentTime)

        def answers(event: Any) -> bool:
            return bool(event.type == X.SelectionNotify and event.target == target)

        event = self._until(answers, end)
        if event is None or event.property == X.NONE:
            return None
        taken = self._take_property(most_bytes)
        if taken is None or taken[0] != self._atoms["INCR"]:
            return None if taken is None else taken[1]
        pieces: list[bytes] = []
        while True:
            event = self._until(
                lambda event: (
                    event.type == X.PropertyNotify
                    and (event.atom, event.state) == (self._property, X.PropertyNewValue)
                ),
                end,
            )
            taken = None if event is None else self._take_property(most_bytes)
            if taken is None:
                return None
            pieces.append(taken[1])
            most_bytes -= len(taken[1])
            if not taken[1]:
                return b"".join(pieces)

    def _take_property(self, most_bytes: int) -> tuple[int, bytes] | None:
        """Type and bytes of our property, which is deleted: a piece is asked for by that; None: too long."""
        longs = most_bytes // 4 + 1
        found = self._window.get_property(self._property, X.AnyPropertyType, 0, longs, True)
        if found is None:
            return 0, b""
        value = found.value
        payload = value.tobytes() if hasattr(value, "tobytes") else bytes(value)
        if found.bytes_after or len(payload) > most_bytes:
            return None
        return int(found.property_type), payload

    # As owner

    def _serve(self, request: Any) -> None:
        """Answer a program that wants what we have."""
        place = request.property or request.target  # obsolete clients name none (ICCCM 2.2)
        given = bool(request.selection == self._selection and self._give(request, place))
        request.requestor.send_event(
            xevent.SelectionNotify(
                time=request.time,
                requestor=request.requestor,
                selection=request.selection,
                target=request.target,
                property=place if given else X.NONE,
            )
        )

    def _give(self, request: Any, place: int) -> bool:
        if self._text is None:
            return False
        target, window = int(request.target), request.requestor
        if target == self._atoms["TARGETS"]:
            offered = [target, self._atoms["TIMESTAMP"], *self._texts]
            window.change_property(place, Xatom.ATOM, 32, offered)
        elif target == self._atoms["TIMESTAMP"]:
            window.change_property(place, Xatom.INTEGER, 32, [self._owned_since])
        elif target in self._texts:
            payload = self._text
            if target == self._atoms["STRING"]:
                payload = self._text.decode().encode("latin-1", errors="replace")
            return self._give_text(window, place, target, payload)
        else:
            return False
        return True

    def _give_text(self, window: Any, place: int, target: int, payload: bytes) -> bool:
        if len(payload) <= PIECE_BYTES:
            window.change_property(place, target, 8, payload)
            return True
        if len(self._transfers) >= MAX_TRANSFERS:
            return False
        window.change_attributes(event_mask=X.PropertyChangeMask)
        window.change_property(place, self._atoms["INCR"], 32, [len(payload)])
        until = time.monotonic() + TRANSFER_LIMIT_S
        self._transfers[window.id, place] = _Transfer(window, target, payload, until)
        return True

    def _serve_piece(self, window: int, place: int) -> None:
        """A program has taken a piece: the next one, at last an empty one (ICCCM 2.7.2)."""
        transfer = self._transfers.get((window, place))
        if transfer is None:
            return
        piece, transfer.rest = transfer.rest[:PIECE_BYTES], transfer.rest[PIECE_BYTES:]
        transfer.window.change_property(place, transfer.type, 8, piece)
        transfer.until = time.monotonic() + TRANSFER_LIMIT_S
        if not piece:
            del self._transfers[window, place]
            transfer.window.change_attributes(event_mask=0)
