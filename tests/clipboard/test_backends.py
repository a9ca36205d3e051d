"""The clipboard backends' contract, and the corners of X selections."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from Xlib import X
from Xlib.display import Display
from Xlib.protocol import event

from agent.clipboard import xselection
from agent.clipboard.base import ClipboardUnavailable
from agent.clipboard.xselection import SECRET, XSelection
from tests.clipboard.contract import changed, keep_the_contract, while_served
from tests.clipboard.fake import FakeClipboard
from tests.clipboard.xclip import Xclip
from tests.xserver import XServer, x_display, x_server


@pytest.fixture
def server() -> Iterator[XServer]:
    with x_server("320x240") as server:
        yield server


@pytest.fixture
def clipboard(server: XServer) -> Iterator[XSelection]:
    clipboard = XSelection(server.name)
    yield clipboard
    clipboard.close()


def test_the_fake_keeps_the_contract() -> None:
    fake = FakeClipboard()
    keep_the_contract(fake, fake)


@pytest.mark.timeout(120)
def test_x_selections_keep_the_contract(server: XServer) -> None:
    keep_the_contract(XSelection(server.name), Xclip(server.name))


def test_what_a_password_manager_copies_is_not_for_us(
    server: XServer, clipboard: XSelection
) -> None:
    """Its targets have the hint beside the text."""
    other = Display(server.name)
    window = other.screen().root.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
    selection = other.intern_atom("CLIPBOARD")
    window.set_selection_owner(selection, X.CurrentTime)
    other.sync()
    asked: list[str] = []

    def answer() -> None:
        while not asked:
            request = other.next_event()
            if request.type != X.SelectionRequest:
                continue
            asked.append(other.get_atom_name(request.target))
            names = ("TARGETS", "UTF8_STRING", SECRET)
            targets = [other.intern_atom(name) for name in names]
            request.requestor.change_property(request.property, 4, 32, targets)
            request.requestor.send_event(
                event.SelectionNotify(
                    time=request.time, requestor=request.requestor, selection=request.selection,
                    target=request.target, property=request.property,
                )
            )  # fmt: skip
            other.sync()

    thread = threading.Thread(target=answer)
    thread.start()
    assert changed(clipboard, False)
    thread.join(10)
    assert asked == ["TARGETS"], "the text itself was not asked for"
    other.close()


def test_an_old_program_gets_and_gives_its_own_form_of_text(
    server: XServer, clipboard: XSelection
) -> None:
    xclip = Xclip(server.name)
    clipboard.write("Gruß €")
    other = while_served(clipboard, lambda: xclip.paste("TARGETS"))
    assert set((other or "").split()) >= {"UTF8_STRING", "STRING", "TARGETS", "TIMESTAMP"}
    assert while_served(clipboard, lambda: xclip.paste("image/png")) is None
    assert while_served(clipboard, lambda: xclip.paste("text/plain;charset=utf-8")) == "Gruß €"
    xclip.copy("plain", "STRING")
    assert changed(clipboard, True)
    assert clipboard.read() == "plain"


def test_an_image_is_no_text(server: XServer, clipboard: XSelection) -> None:
    Xclip(server.name).copy("not really", "image/png")
    assert changed(clipboard, False)
    assert clipboard.read() is None


def test_a_program_that_does_not_hand_out_its_text_has_none(
    server: XServer, clipboard: XSelection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xselection, "READ_LIMIT_S", 0.2)
    silent = Display(server.name)
    window = silent.screen().root.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
    window.set_selection_owner(silent.intern_atom("CLIPBOARD"), X.CurrentTime)
    silent.sync()
    assert changed(clipboard, False)
    assert clipboard.read() is None
    silent.close()


def test_a_server_that_is_gone_is_told_in_words(server: XServer, clipboard: XSelection) -> None:
    server.kill()
    with pytest.raises(ClipboardUnavailable, match="went away"):
        clipboard.next(20)
    with pytest.raises(ClipboardUnavailable, match="went away"):
        clipboard.write("x")
    with pytest.raises(ClipboardUnavailable, match="cannot open"):
        XSelection(server.name)


def test_the_probe_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    assert "DISPLAY is not set" in (XSelection.probe() or "")
    with x_display():
        assert XSelection.probe() is None
