"""Who plays with whom: hosts are given rooms, and each room that is open one guest (a core; the master holds it)."""

from __future__ import annotations

from collections.abc import Sequence


class NoRoomError(Exception):
    """A list of rooms was given, and all of them have a host."""


class Lobby:
    """The rooms of one dialect."""

    def __init__(self, run: str, rooms: Sequence[str] | None = None) -> None:
        """`run` keeps the rooms of one run apart from those of another; `rooms`: these and no others."""
        self._run = run
        self._rooms = rooms
        self._next = 0
        self._unused: list[str] = []
        self._free: dict[str, None] = {}
        self._taken: set[str] = set()

    def host(self) -> str:
        """A room without a host. Raises NoRoomError."""
        if self._unused:
            return self._unused.pop()
        number = self._next
        if self._rooms is not None and number >= len(self._rooms):
            raise NoRoomError(f"all {len(self._rooms)} rooms have a host")
        self._next += 1
        return f"load-{self._run}-{number}" if self._rooms is None else self._rooms[number]

    def open(self, room: str) -> None:
        """Its host is there. Saying it twice is harmless."""
        if room not in self._taken:
            self._free[room] = None

    def close(self, room: str) -> None:
        """Its host has gone for good; who plays there will find out."""
        self._free.pop(room, None)
        self._taken.discard(room)
        self._unused.append(room)

    def guest(self) -> str | None:
        """An open room without a guest, the one that has waited longest; None: there is none now."""
        room = next(iter(self._free), None)
        if room is not None:
            del self._free[room]
            self._taken.add(room)
        return room

    def leave(self, room: str) -> None:
        """Its guest has gone."""
        if room in self._taken:
            self._taken.remove(room)
            self._free[room] = None
