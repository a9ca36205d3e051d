"""The edge's own judgement of an upgrade against that of `websockets`, over heads made at random."""

from __future__ import annotations

import base64
from types import FunctionType
from typing import Any

import httptools
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState
from websockets.http11 import Request
from websockets.server import ServerProtocol

from cluster.handshake import BAD_REQUEST, Upgrade, judge, usual
from cluster.head import ATTRIBUTES, OVERRIDDEN, HttpConnection
from tests.cluster.edge import Wire
from tests.fuzz import fuzz_cases

KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="
Line = tuple[bytes, bytes]
USUAL: list[Line] = [
    (b"Host", b"127.0.0.1:8080"),
    (b"Connection", b"keep-alive, Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Key", KEY),
]
NAMES = st.sampled_from([*(name for name, _ in USUAL), b"Sec-WebSocket-Protocol", b"Cookie"])
OTHER_NAMES = st.sampled_from(
    [b"Sec-WebSocket-Extensions", b"Content-Length", b"Transfer-Encoding", b"Origin", b"uPGRADE"]
)
TEXTS = st.binary(max_size=12) | st.text('aU9+/=,; \t"\xff', max_size=30).map(
    lambda text: text.encode("latin-1")
)
VALUES = st.one_of(
    TEXTS,
    st.binary(min_size=15, max_size=17).map(base64.b64encode),
    st.sampled_from(
        [
            *(b"Upgrade", b"upgrade,", b",upgrade", b"keep-alive,Upgrade", b"close", b"WebSocket"),
            *(b"websocket, h2c", b"13", b" 13 ", b"8", b"0", b"1", b"chunked", b"tightbeam.v1"),
            *(b"a, tightbeam.v1", b"a,,b", b"a b", b"a;q=1", b"x" * 9000, KEY + b"=", KEY[:-1]),
            b"permessage-deflate; client_max_window_bits",
        ]
    ),
)
LINES = st.tuples(NAMES | OTHER_NAMES, VALUES)
HEADS = st.builds(
    lambda usual, more, order: order.sample(usual + more, len(usual) + len(more)),
    st.lists(st.sampled_from(USUAL), unique=True, min_size=3) | st.just(USUAL),
    st.lists(LINES, max_size=3) | st.just([(b"A", b"b")] * 130),
    st.randoms(use_true_random=False),
)
TARGETS = st.sampled_from([b"/", b"/ws", b"/ws?roomId=p&token=%41", b"/%2e%ff", b"*", b"/" * 9000])
METHODS = st.sampled_from(["GET"] * 6 + ["POST", "HEAD", "OPTIONS"])


class Parsed:
    """What httptools makes of a head, as uvicorn's HTTP side keeps it."""

    def __init__(self, head: bytes) -> None:
        self.target = b""
        self.headers: list[Line] = []
        self.whole = False
        self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            self.upgrades = self.whole
        except httptools.HttpParserError:
            self.upgrades = False
        else:
            self.upgrades = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.whole = True


def reference(head: bytes) -> Upgrade | bytes:
    """By `websockets` alone, which reads the bytes that the client sent."""
    server = ServerProtocol()
    server.receive_data(head)
    events = server.events_received()
    if not events:
        return b"".join(server.data_to_send()) or BAD_REQUEST
    (request,) = events
    assert isinstance(request, Request)
    response = server.accept(request)
    if response.status_code != 101:
        server.send_response(response)
        return b"".join(server.data_to_send())
    offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol"))
    names = (name.strip() for name in offered.split(","))
    return Upgrade(response.headers["Sec-WebSocket-Accept"].encode(), list(filter(None, names)))


def status(judged: Upgrade | bytes) -> Upgrade | bytes:
    """A refusal's date is none of its judgement."""
    return judged if isinstance(judged, Upgrade) else judged.partition(b"\r\n")[0]


@fuzz_cases(1200)
@given(method=METHODS, target=TARGETS, lines=HEADS)
def test_upgrade_is_judged_as_websockets_judges_it(
    method: str, target: bytes, lines: list[Line]
) -> None:
    head = b"".join(name + b": " + value + b"\r\n" for name, value in lines)
    head = method.encode() + b" " + target + b" HTTP/1.1\r\n" + head + b"\r\n"
    head = head[: head.index(b"\r\n\r\n") + 4]  # a value may hold its end
    parsed = Parsed(head)
    if parsed.upgrades:
        assert status(judge(method, parsed.target, parsed.headers)) == status(reference(head))


def test_usual_head_is_taken_without_websockets() -> None:
    lines = [(name.lower(), value) for name, value in USUAL]
    offer = (b"sec-websocket-protocol", b"tightbeam.v1, x")
    deflate = (b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits")
    # RFC 6455 1.3 has this key and its answer.
    lines[-1] = (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")
    accept = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert usual("GET", b"/ws", lines) == Upgrade(accept, [])
    assert usual("GET", b"/ws", [*lines, offer, deflate]) == Upgrade(accept, ["tightbeam.v1", "x"])


def test_empty_subprotocol_is_none() -> None:
    lines = [(name.lower(), value) for name, value in USUAL]
    found = judge("GET", b"/ws", [*lines, (b"sec-websocket-protocol", b",x, ,y")])
    assert isinstance(found, Upgrade)
    assert found.subprotocols == ["x", "y"]


def test_uvicorn_still_has_what_the_edge_overrides() -> None:
    own = {name for name, value in vars(HttpConnection).items() if isinstance(value, FunctionType)}
    assert {name for name in own if hasattr(HttpToolsProtocol, name)} == set(OVERRIDDEN)


async def test_uvicorn_still_has_what_the_edge_reads() -> None:
    async def application(_scope: Any, _receive: Any, _send: Any) -> None:
        pass

    config = uvicorn.Config(application, http=HttpConnection, lifespan="off", log_config=None)
    config.load()
    http = HttpConnection(config, ServerState(), {})
    http.connection_made(Wire())
    http.data_received(b"GET / HTTP/1.1\r\n\r\n")
    for name in ATTRIBUTES:
        value: Any = http
        for part in name.split("."):
            assert hasattr(value, part), name
            value = getattr(value, part)
    http.connection_lost(None)
