"""A one-slot mailbox between two stages of the picture's way: the newest wins, the replaced is counted.

It holds no lock: the stage that owns it guards it with its own condition.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Holds at most one item. Overflow policy: `put` hands back what it replaced and counts it.

    Dropping happens here, before encoding, because dropping an encoded picture would break the
    decoder's references.
    """

    def __init__(self) -> None:
        self._item: Item | None = None
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many items were replaced before anybody took them."""
        return self._dropped

    def put(self, item: Item) -> Item | None:
        """Store `item`; returns the one it replaced, which the caller must give back."""
        replaced, self._item = self._item, item
        if replaced is not None:
            self._dropped += 1
        return replaced

    def take(self) -> Item | None:
        """The item, now the caller's own, or None."""
        item, self._item = self._item, None
        return item

    def __bool__(self) -> bool:
        return self._item is not None
