"""What has come out at the far end of one stream whose items are numbered from 0 (a core)."""

from __future__ import annotations


class Receipt:
    """Counts one stream. Its sender's own count comes from outside, see `lost`."""

    def __init__(self) -> None:
        self.received = 0
        """Different items."""
        self.doubled = 0
        """Items that came again."""
        self.reordered = 0
        """Items that came after a later one."""
        self._highest = -1
        self._gaps: set[int] = set()

    @property
    def skipped(self) -> int:
        """Items that have not come although a later one has."""
        return len(self._gaps)

    def take(self, number: int) -> bool:
        """Item `number` has come; whether for the first time."""
        if number > self._highest:
            self._gaps.update(range(self._highest + 1, number))
            self._highest = number
        elif number in self._gaps:
            self._gaps.remove(number)
            self.reordered += 1
        else:
            self.doubled += 1
            return False
        self.received += 1
        return True

    def lost(self, said: int) -> int:
        """Of so many that were said, how many have not come."""
        return said - self.received
