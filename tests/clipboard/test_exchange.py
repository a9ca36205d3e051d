"""Stage and exchange: who may, who is told, and that every question is answered."""

from __future__ import annotations

import threading

import pytest

from agent.clipboard import stage as stage_module
from agent.clipboard.base import MAX_TEXT_BYTES, Clipboard, ClipboardUnavailable, Policy
from agent.clipboard.exchange import ClipboardExchange
from agent.clipboard.stage import ClipboardStage
from agent.clipboard.wire import (
    encode_offer,
    encode_policy,
    encode_taken,
    encode_text,
)
from tests.clipboard.fake import FakeClipboard
from tests.eventually import eventually, until

WANT_7 = b"\x01\x03\x00\x00\x00\x07"


class Page:
    """An exchange and what it sent."""

    def __init__(self, stage: ClipboardStage, name: str = "1", *, player: bool = True) -> None:
        self.sent: list[bytes] = []
        self.full = False
        self.exchange = ClipboardExchange(name, stage, self._send, player=player)

    def _send(self, message: bytes) -> bool:
        if not self.full:
            self.sent.append(message)
        return not self.full

    def put(self, number: int, text: str) -> None:
        for message in encode_text(number, text):
            self.exchange.on_message(message)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "clipboard"]


async def test_texts_go_both_ways_and_the_last_page_takes_its_text_with_it() -> None:
    fake = FakeClipboard()
    stage = ClipboardStage(lambda: fake, "both")
    page, other = Page(stage), Page(stage, "2")
    for one in (page, other):
        one.exchange.open()
        one.exchange.open()
    assert page.sent == [encode_policy(3)]
    page.put(1, "of the page")
    await until(lambda: encode_taken(1, taken=True) in page.sent)
    assert fake.paste() == "of the page"
    assert encode_offer(text=True) not in other.sent, "a text of a page is offered to nobody"
    fake.copy("of the host")
    await until(
        lambda: encode_offer(text=True) in page.sent and encode_offer(text=True) in other.sent
    )
    page.exchange.on_message(WANT_7)
    await until(lambda: page.sent[-1] == next(encode_text(7, "of the host")))
    other.put(2, "again")
    await until(lambda: fake.paste() == "again")
    page.exchange.close()
    page.exchange.close()
    assert fake.paste() == "again"
    other.exchange.close()
    eventually(lambda: fake.closed and not threads(), "the thread's end")
    assert fake.paste() is None


@pytest.mark.parametrize(
    ("policy", "player", "to_host", "to_client"),
    [
        ("both", True, True, True), ("to-host", True, True, False), ("to-client", True, False, True),
        ("off", True, False, False), ("both", False, False, False),
    ],
)  # fmt: skip
async def test_only_open_ways_are_gone_and_a_closed_one_is_answered(
    policy: Policy, player: bool, to_host: bool, to_client: bool
) -> None:
    fake = FakeClipboard()
    fake.copy("secret")
    page = Page(ClipboardStage(lambda: fake, policy), player=player)
    page.exchange.open()
    page.exchange.on_message(WANT_7)
    text = next(encode_text(7, "secret" if to_client else None))
    await until(lambda: text in page.sent, "an answer")
    page.put(8, "of the page")
    await until(lambda: encode_taken(8, taken=to_host) in page.sent, "the other answer")
    assert fake.paste() == ("of the page" if to_host else "secret")
    assert page.exchange.refused == 2 - to_host - to_client
    assert (encode_offer(text=True) in page.sent) <= to_client
    page.exchange.close()
    eventually(lambda: not threads(), "the thread's end")


async def test_a_desktop_without_a_clipboard_has_no_text_and_takes_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stage_module, "FIRST_BACK_OFF_S", 0.01)
    fakes: list[FakeClipboard] = []
    there = threading.Event()

    def opened() -> Clipboard:
        if not there.is_set():
            raise ClipboardUnavailable("not yet")
        fakes.append(FakeClipboard())
        return fakes[-1]

    page = Page(ClipboardStage(opened, "both"))
    page.exchange.open()
    page.put(1, "very secret")
    await until(lambda: encode_taken(1, taken=False) in page.sent)
    page.exchange.on_message(WANT_7)
    await until(lambda: next(encode_text(7, None)) in page.sent)
    there.set()
    await until(lambda: fakes)
    page.put(2, "x")
    await until(lambda: encode_taken(2, taken=True) in page.sent)
    fakes[0].vanish()
    await until(lambda: len(fakes) == 2 and fakes[0].closed, "the next one")
    page.exchange.close()
    assert "secret" not in caplog.text


async def test_a_backend_that_breaks_does_not_tell_the_text_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(FakeClipboard):
        def write(self, text: str) -> None:
            raise RuntimeError(f"cannot write {text}")

    page = Page(ClipboardStage(Broken, "both"))
    page.exchange.open()
    page.put(1, "very secret")
    await until(lambda: encode_taken(1, taken=False) in page.sent)
    page.exchange.close()
    assert "very secret" not in caplog.text
    assert "RuntimeError" in caplog.text


async def test_a_full_channel_keeps_the_newest_text_and_answers_before_it() -> None:
    fake = FakeClipboard()
    page = Page(ClipboardStage(lambda: fake, "both"))
    page.exchange.open()
    fake.copy("a" * MAX_TEXT_BYTES)
    await until(lambda: encode_offer(text=True) in page.sent)
    page.full = True
    page.exchange.on_message(WANT_7)
    await until(lambda: page.exchange._text)
    fake.copy("newer")
    page.exchange.on_message(b"\x01\x03\x00\x00\x00\x08")
    page.put(9, "x")
    await until(lambda: len(page.exchange._text) == 1 and len(page.exchange._answers) == 2)
    page.full = False
    sent = len(page.sent)
    await until(lambda: len(page.sent) == sent + 3)
    assert page.sent[-1] == next(encode_text(8, "newer"))
    page.exchange.close()


async def test_a_desktop_that_is_lost_for_the_twentieth_time_is_back_as_soon_as_at_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wait doubled with every loss, however long the clipboard had worked between them."""
    monkeypatch.setattr(stage_module, "FIRST_BACK_OFF_S", 0.01)
    monkeypatch.setattr(stage_module, "LAST_BACK_OFF_S", 3600.0)
    fakes: list[FakeClipboard] = []

    def opened() -> Clipboard:
        fakes.append(FakeClipboard())
        return fakes[-1]

    page = Page(ClipboardStage(opened, "both"))
    page.exchange.open()
    for number in range(1, 21):
        await until(lambda number=number: len(fakes) == number)  # type: ignore[misc]
        fakes[-1].copy("x")
        await until(lambda: not fakes[-1]._changed)
        fakes[-1].vanish()
    page.exchange.close()
