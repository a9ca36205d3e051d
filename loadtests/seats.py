"""The way to the lobby from every process of a run: over Locust's own messages to the master, which holds it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

import gevent
from gevent.event import AsyncResult

from loadtests.lobby import Lobby, NoRoomError
from loadtests.tally import DIALECTS

ANSWER_LIMIT_S: Final = 10.0
ASK: Final = "tightbeam-lobby"
ANSWER: Final = "tightbeam-seat"


class NoSeatError(Exception):
    """The master has no room for this user, or did not answer; the text says which."""


class Desk:
    """The master's side."""

    def __init__(self, runner: Any, rooms: dict[str, Sequence[str] | None]) -> None:
        self._runner = runner
        self._rooms = rooms
        self._lobbies: dict[str, Lobby] = {}
        self.reset()
        runner.register_message(ASK, self._asked)

    def reset(self) -> None:
        """A new run."""
        run = secrets.token_urlsafe(6)
        self._lobbies = {name: Lobby(f"{run}-{name}", self._rooms.get(name)) for name in DIALECTS}

    def _asked(self, environment: Any, msg: Any, **_: Any) -> None:
        lobby = self._lobbies[msg.data["dialect"]]
        reply: dict[str, Any] = {"ask": msg.data["ask"]}
        match msg.data["what"]:
            case "host":
                try:
                    reply["room"] = lobby.host()
                except NoRoomError as error:
                    reply["error"] = str(error)
            case "guest":
                reply["room"] = lobby.guest()
            case "open":
                lobby.open(msg.data["room"])
            case "close":
                lobby.close(msg.data["room"])
            case "leave":
                lobby.leave(msg.data["room"])
        if msg.data["ask"] is not None:
            self._runner.send_message(ANSWER, reply, client_id=msg.node_id)


class Seats:
    """The side of the users of one process."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._numbers = count()
        self._waiting: dict[int, AsyncResult] = {}
        runner.register_message(ANSWER, self._answered)

    def take(self, what: str, dialect: str) -> str | None:
        """`host`: a room of its own. `guest`: one with a host, or None. Raises NoSeatError."""
        number = next(self._numbers)
        result = self._waiting[number] = AsyncResult()
        try:
            data = {"ask": number, "what": what, "dialect": dialect}
            self._runner.send_message(ASK, data)
            reply = result.get(timeout=ANSWER_LIMIT_S)
        except gevent.Timeout:
            raise NoSeatError(f"the master gave no seat within {ANSWER_LIMIT_S:.0f} s") from None
        finally:
            del self._waiting[number]
        if "error" in reply:
            raise NoSeatError(reply["error"])
        room: str | None = reply["room"]
        return room

    def tell(self, what: str, dialect: str, room: str) -> None:
        """`open`, `close` by its host, `leave` by its guest."""
        data = {"ask": None, "what": what, "dialect": dialect, "room": room}
        self._runner.send_message(ASK, data)

    def _answered(self, environment: Any, msg: Any, **_: Any) -> None:
        waiting = self._waiting.get(msg.data["ask"])
        if waiting is not None:
            waiting.set(msg.data)
