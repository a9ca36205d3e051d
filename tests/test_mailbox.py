"""The one-slot mailbox."""

from agent.mailbox import Mailbox


def test_newest_wins_and_the_replaced_comes_back_counted() -> None:
    mailbox: Mailbox[str] = Mailbox()
    assert mailbox.put("first") is None
    assert mailbox.put("second") == "first"
    assert mailbox.dropped == 1
    assert mailbox.take() == "second"


def test_taken_item_is_gone_and_not_counted_as_dropped() -> None:
    mailbox: Mailbox[str] = Mailbox()
    mailbox.put("only")
    assert mailbox
    assert mailbox.take() == "only"
    assert not mailbox
    assert mailbox.take() is None
    assert mailbox.put("next") is None
    assert mailbox.dropped == 0
