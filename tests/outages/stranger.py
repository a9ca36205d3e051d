"""Somebody who does not belong: takes what an outage may have left open, and counts what it got."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import Any, Final

import orjson

from tests.cluster.support import token
from tests.outages.wire import Wire, dial

PATIENCE_S: Final = 12.0
"""A join may be held for six seconds."""
STAYS_S: Final = 0.3
"""A refusal follows the 101 at once."""


_numbers = itertools.count()


def new_address() -> str:
    """Everybody comes from an address of their own, so that no limit keeps them out."""
    number = next(_numbers)
    return f"127.{4 + number // 62500 % 200}.{number // 250 % 250}.{number % 250 + 1}"


async def enter_plain(node: tuple[str, int], room: str) -> tuple[int, str]:
    """Try to become a member of a plain room; the close, (0, "admitted") without one."""
    wire = Wire(f"/?roomId={room}", f"{node[0]}:{node[1]}")
    try:
        await dial(wire, node, new_address(), PATIENCE_S)
        await asyncio.wait([wire.closed], timeout=STAYS_S)
        return wire.closed.result() if wire.closed.done() else (0, "admitted")
    finally:
        wire.abort()


async def say_hello(node: tuple[str, int], room: str, **credential: str) -> dict[str, Any]:
    """Say hello with a credential, as a player or, with a `token` of `host_token`, as another host."""
    wire = Wire("/ws", f"{node[0]}:{node[1]}", "tightbeam.v1")
    answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def take(frame: bytes) -> None:
        if not answer.done():
            answer.set_result(orjson.loads(frame))

    wire.on_text = take
    try:
        await dial(wire, node, new_address(), PATIENCE_S)
        role = credential.pop("role", "player")
        wire.send(orjson.dumps({"type": "hello", "room": room, "role": role, **credential}))
        said = await asyncio.wait_for(answer, PATIENCE_S)
        if said["type"] == "error":
            said["close"] = await asyncio.wait_for(wire.closed, PATIENCE_S)
        return said
    finally:
        wire.abort()


class Stranger:
    """Tries again and again to enter full plain rooms and to be a second host; `run` until cancelled."""

    def __init__(self, nodes: list[tuple[str, int]], plain: list[str], hosted: list[str]) -> None:
        self.answers: Counter[str] = Counter()
        self._nodes = nodes
        self._plain = plain
        self._hosted = hosted

    async def run(self) -> None:
        """Knock at every room through every node."""
        doors = [
            self._knock(node, room, self._enter) for node in self._nodes for room in self._plain
        ]
        doors += [
            self._knock(node, room, self._be_host) for node in self._nodes for room in self._hosted
        ]
        await asyncio.gather(*doors)

    async def _knock(self, node: tuple[str, int], room: str, way: Any) -> None:
        while True:
            try:
                self.answers[await way(node, room)] += 1
            except (OSError, TimeoutError) as error:
                self.answers[type(error).__name__] += 1
            await asyncio.sleep(0.25)

    @staticmethod
    async def _enter(node: tuple[str, int], room: str) -> str:
        return (await enter_plain(node, room))[1]

    @staticmethod
    async def _be_host(node: tuple[str, int], room: str) -> str:
        said = await say_hello(node, room, role="host", token=token("host", room, "host"))
        return str(said.get("code", said["type"]))
