"""docs/protocol.md against the code: its tables, and its examples, which are played against a real node."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from cluster import head, limits, plain, session, websocket
from cluster.auth import new_id
from cluster.protocol import closes, messages
from cluster.protocol.messages import ITEM_FIELDS, MESSAGE_FIELDS, MessageError
from cluster.settings import Settings
from tests.cluster import support

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"^### (7\.\d+ [^\n]*)\n\n```conversation *([a-z-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
LINE = re.compile(
    r"(?P<who>\w+) (?P<verb>opens|says|hears|is closed with|vanishes|drains) ?(?P<rest>.*)"
)
NAME = re.compile(r"<([\w ]+)>")
DEFAULTS = Settings()


@dataclass(frozen=True)
class Line:
    """One thing that happens."""

    who: str
    verb: str
    rest: str

    @property
    def said(self) -> dict[str, Any] | None:
        """The message of the line, where it has one that is right."""
        text = re.sub(r"^(at last|\d+ times) ", "", self.rest)
        if self.verb not in ("says", "hears") or not text.startswith("{"):
            return None
        message: dict[str, Any] = json.loads(text)
        return message


CONVERSATIONS = {
    title: (
        kind,
        [
            Line(**match.groupdict())
            for line in text.splitlines()
            if (match := LINE.fullmatch(line))
        ],
    )
    for title, kind, text in BLOCK.findall(DOCUMENT)
}
LINES = [line for _, lines in CONVERSATIONS.values() for line in lines]


def _table(heading: str) -> Iterator[list[str]]:
    """The cells of the rows of a section's first table, without its head."""
    rows = DOCUMENT.partition(heading)[2].partition("\n## ")[0].splitlines()
    start = next(number for number, row in enumerate(rows) if row.startswith("|---"))
    for row in rows[start + 1 :]:
        if not row.startswith("|"):
            return
        yield [cell.strip() for cell in row.strip("|").split(" | ")]


# Tables


@pytest.mark.parametrize(
    ("heading", "fields"),
    [("### 2.1 Messages", ITEM_FIELDS), ("## 3. The Tightbeam dialect", MESSAGE_FIELDS)],
    ids=["plain", "tightbeam"],
)
def test_table_has_every_message_with_every_key(heading: str, fields: dict[str, Any]) -> None:
    rows = {cells[0].strip("`"): cells[-1] for cells in _table(heading)}
    assert set(rows) == set(fields) - {"pong"}  # which is in the row of ping
    for kind, text in rows.items():
        documented = set(re.findall(r"`(\w+)", text))
        for row in fields[kind][1]:
            assert row.json in documented, f"{kind}.{row.json}"


def test_table_has_every_error_with_its_close() -> None:
    text = DOCUMENT.partition("`error.code` is one of:")[2]
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", text, re.MULTILINE))
    codes = {code: rows[code] for code in (*closes.CLOSE_OF_ERROR, "no-such-peer")}
    assert set(list(rows)[: len(codes)]) == set(codes)
    for code, close in closes.CLOSE_OF_ERROR.items():
        assert str(close.code) in codes[code], code
    assert codes["no-such-peer"] == "-"


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("messages of a connection in 10 s", f"{DEFAULTS.messages_per_10s}"),
        ("messages of one client address in 10 s", f"{DEFAULTS.ip_messages_per_10s}"),
        ("messages in one room in 10 s", f"{DEFAULTS.room_messages_per_10s}"),
        ("joins of one client address in 10 s", f"{DEFAULTS.connections_per_10s}"),
        ("valid resumes of one peer in 10 s", f"{limits.RESUMES}"),
        ("sockets of one client address that have not joined", f"{limits.WAITING:,}"),
        ("fragments, control frames and binary frames", f"{websocket.FRAMES_PER_10S:,}"),
        ("size of a message, in", f"{DEFAULTS.message_bytes >> 10} KiB"),
        ("size of a message before `welcome`", f"{session.HELLO_BYTES >> 10} KiB"),
        ("fragments of a message", f"{websocket.FRAGMENTS:,}"),
        ("bytes that a client leaves unread", f"{DEFAULTS.send_buffer_bytes >> 20} MiB"),
        ("messages between `hello` and `welcome`", f"{session.EARLY_FRAMES}"),
        ("messages of a lone plain member", f"{plain.KEPT_MESSAGES}, {plain.KEPT_BYTES >> 10} KiB"),
        ("time until `hello`", f"{DEFAULTS.hello_timeout_s:g} s"),
    ],
)
def test_table_has_every_limit(limit: str, value: str) -> None:
    (cells,) = (cells for cells in _table("### 3.4 Limits") if cells[0].startswith(limit))
    assert cells[1].startswith(value)


def test_limits_in_the_text_are_those_of_the_code() -> None:
    for words in (
        f"within {head.HEAD_LIMIT_S:g} s and have at most {head.HEAD_BYTES >> 10} KiB",
        f"at most {messages.MAX_ITEMS} items",
        f"an `sdp` at most {messages.MAX_ITEM_BYTES:,} characters",
        f"(the last {messages.MAX_REPLACES} at most)",
        f"default {DEFAULTS.host_room_capacity})",
    ):
        assert words in DOCUMENT, words


# Examples


def _sample(value: Any) -> Any:
    """The same with something in the place of each name."""
    if isinstance(value, dict):
        return {key: _sample(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_sample(entry) for entry in value]
    name = NAME.fullmatch(value) if isinstance(value, str) else None
    return value if name is None else 1000 if name[1] == "ms" else "A" * 22


def _parses(message: dict[str, Any]) -> bool:
    if message == json.loads(plain.PEER_DISCONNECTED):
        return True
    for parse in (messages.parse_object, messages.parse_item):
        try:
            parse(_sample(message))
        except MessageError:
            continue
        return True
    return False


def test_every_line_of_the_examples_is_read() -> None:
    count = sum(len(text.splitlines()) for _, _, text in BLOCK.findall(DOCUMENT))
    assert len(LINES) == count > 100
    assert DOCUMENT.count("```conversation") == len(CONVERSATIONS)


def test_examples_parse_and_have_every_message_error_and_item() -> None:
    said = [message for line in LINES if (message := line.said) is not None]
    for message in said:
        assert _parses(message), message
    for line in LINES:
        if line.rest.startswith("wrongly "):
            assert not _parses(json.loads(line.rest.removeprefix("wrongly "))), line
    items = [item for message in said for item in message.get("items", ())]
    assert {message["type"] for message in said} - {"peer-disconnected"} == {
        *MESSAGE_FIELDS,
        *ITEM_FIELDS,
    }
    assert {item["type"] for item in items} == {"offer", "answer", "candidate"}
    errors = {message["code"] for message in said if message["type"] == "error"}
    assert errors == {*closes.CLOSE_OF_ERROR, "no-such-peer"}


class Stage:
    """Plays one conversation."""

    def __init__(self, node: support.RunningNode, names: dict[str, Any]) -> None:
        self._node = node
        self._names = names
        self._sockets: dict[str, ClientConnection] = {}

    async def play(self, line: Line) -> None:
        match line.verb:
            case "opens":
                self._sockets[line.who] = await self._open(line.rest)
            case "says":
                await self._say(self._sockets[line.who], line.rest)
            case "hears":
                await self._hear(self._sockets[line.who], line)
            case "is closed with":
                code, reason = await support.closing(self._sockets[line.who])
                assert f"{code} {reason}".startswith(line.rest)
            case "vanishes":
                self._sockets[line.who].transport.abort()
            case "drains":
                self._node.server.stop()

    async def _open(self, rest: str) -> ClientConnection:
        path, _, origin = rest.partition(" from ")
        path, _, subprotocol = path.partition(" as ")
        return await connect(
            self._node.url + NAME.sub(lambda name: str(self._names[name[1]]), path),
            subprotocols=[websockets.Subprotocol(subprotocol)] if subprotocol else None,
            origin=websockets.Origin(origin) if origin else None,
            compression=None,
            open_timeout=support.LIMIT_S,
        )

    async def _say(self, socket: ClientConnection, rest: str) -> None:
        if rest.startswith("bytes "):
            await socket.send(bytes.fromhex(rest.removeprefix("bytes ")), text=True)
        elif rest.endswith(" characters"):
            await socket.send("x" * int(rest.split(maxsplit=1)[0]))
        else:
            count, text = re.fullmatch(r"(?:wrongly |(\d+) times )?(.*)", rest).groups()  # type: ignore[union-attr]
            filled = NAME.sub(lambda name: str(self._names.setdefault(name[1], new_id())), text)
            try:
                for _ in range(int(count or 1)):
                    await socket.send(filled)
            except websockets.ConnectionClosed:
                assert count  # too many, which is what this is about

    async def _hear(self, socket: ClientConnection, line: Line) -> None:
        expected = line.said
        heard = await support.receive(socket)
        while line.rest.startswith("at last ") and not self._same(expected, heard):
            self._note(heard)
            heard = await support.receive(socket)
        assert self._same(expected, heard), (line, heard)

    def _note(self, heard: dict[str, Any]) -> None:
        """Who it is that a line which is not heard in the example speaks of."""
        if heard["type"] == "welcome":
            self._names.setdefault(heard["role"], heard["peer"])

    def _same(self, expected: Any, heard: Any) -> bool:
        """Whether it is what the line says; a name takes the value that it meets first."""
        if isinstance(expected, dict) and isinstance(heard, dict):
            return expected.keys() == heard.keys() and all(
                self._same(expected[key], heard[key]) for key in expected
            )
        if isinstance(expected, list) and isinstance(heard, list):
            return len(expected) == len(heard) and all(map(self._same, expected, heard))
        name = NAME.fullmatch(expected) if isinstance(expected, str) else None
        if name is None:
            return bool(expected == heard)
        return bool(self._names.setdefault(name[1], heard) == heard)


def _settings(kind: str, redis_url: str) -> Settings:
    match kind:
        case "short-grace":
            return support.base_settings(redis_url, timing=support.SHORT_GRACE)
        case "without-redis":
            return support.base_settings("unix:///nowhere")
        case "turn":
            return support.base_settings(
                redis_url, turn_urls=("turn:turn.example",), turn_secret="t" * 32, turn_life_s=2
            )
        case "short-hello":
            return support.base_settings(redis_url, hello_timeout_s=0.2)
        case _:
            return support.base_settings(redis_url)


@pytest.mark.parametrize("title", CONVERSATIONS)
async def test_example_is_what_a_node_does(
    title: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, lines = CONVERSATIONS[title]
    if kind == "without-redis":
        monkeypatch.setattr("cluster.app.START_WAIT_S", 0.1)
    names = {
        "host token": support.token(room="desk"),
        "other host token": support.token(room="another"),
        "pairing token": support.pairing(redis_url, "desk"),
        "second pairing token": support.pairing(redis_url, "desk"),
    }
    async with support.node(_settings(kind, redis_url)) as node:
        stage = Stage(node, names)
        for line in lines:
            await stage.play(line)
