"""One join of the room as its host, and out again: whether node, room and token work, in words where they do not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

from agent.settings import masked
from agent.signaling import (
    GOODBYE_LIMIT_S,
    OPEN_LIMIT_S,
    WELCOME_LIMIT_S,
    SignalingRefused,
    SignalingSettings,
    open_socket,
)
from cluster.protocol import messages
from cluster.protocol.messages import (
    Bye,
    Error,
    Hello,
    IceServers,
    MessageError,
    RoomId,
    Welcome,
)

Failure = Literal["unreachable", "refused", "host-present"]
"""No node answers there; it does and says no; it says yes to the token, and somebody is host already."""

Servers = Sequence[Mapping[str, Any]]
"""W3C RTCIceServer objects."""

MAX_FRAMES: Final = 16
"""Before `welcome`: what a node of another version may have to say."""


class JoinFailed(Exception):
    """`words` say what to do."""

    def __init__(self, failure: Failure, words: str, ice_servers: Servers = ()) -> None:
        super().__init__(words)
        self.failure: Failure = failure
        self.words = words
        self.ice_servers = ice_servers
        """Those that the node names where only another host is in the way."""


async def try_join(settings: SignalingSettings) -> Welcome:
    """Join, leave at once, and return what the node said. Takes 15 s at most. Raises JoinFailed."""
    url = masked(settings.url)
    try:
        async with open_socket(settings) as connection:
            said, servers = await asyncio.wait_for(_hello(connection, settings), WELCOME_LIMIT_S)
            if isinstance(said, Welcome):
                with contextlib.suppress(WebSocketException, OSError, TimeoutError):
                    await asyncio.wait_for(_leave(connection), GOODBYE_LIMIT_S)
    except SignalingRefused as error:
        raise JoinFailed("unreachable", str(error)) from error
    except (InvalidURI, InvalidHandshake) as error:
        raise JoinFailed("unreachable", _no_node(url, error)) from error
    except (WebSocketException, OSError, TimeoutError) as error:
        raise JoinFailed("unreachable", _no_answer(url, error)) from error
    if isinstance(said, Error):
        raise _refusal(said, settings.room, servers)
    if said is None:
        raise JoinFailed("unreachable", f"{url} answers, but not as a node does: check the URL")
    return said


async def _hello(
    connection: ClientConnection, settings: SignalingSettings
) -> tuple[Welcome | Error | None, Servers]:
    servers: Servers = ()
    hello = Hello(RoomId(settings.room), "host", token=settings.token)
    await connection.send(messages.encode(hello))
    for _ in range(MAX_FRAMES):
        try:
            message = messages.parse(await connection.recv())
        except MessageError:
            continue
        if isinstance(message, Welcome | Error):
            return message, servers
        if isinstance(message, IceServers):
            servers = message.ice_servers
    return None, servers


async def _leave(connection: ClientConnection) -> None:
    """Without `bye` the node would keep our place for a while."""
    await connection.send(messages.encode(Bye("only a test")))
    await connection.wait_closed()


def _no_node(url: str, error: InvalidURI | InvalidHandshake) -> str:
    if isinstance(error, InvalidStatus):
        return (
            f"{url} answers, but not as a node does (HTTP {error.response.status_code}): check host,"
            " port and path of the URL"
        )
    if isinstance(error, InvalidMessage):
        return (
            f"{url} does not speak HTTP: check the port, and whether it wants https instead of http"
        )
    return f"{url} is no node ({error}): check the URL"


def _no_answer(url: str, error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"the certificate of {url} is not trusted ({error.verify_message}): check the host's"
                " name, and name the CA that signed it with --ca-file"
            )
        case ssl.SSLError():
            return f"{url} does not speak TLS: check the port, and whether it wants http instead of https"
        case socket.gaierror():
            return f"the host name in {url} is not known: check the URL and this machine's DNS"
        case ConnectionRefusedError():
            return f"nothing listens at {url}: check host and port, and that the node runs"
        case TimeoutError():
            return f"{url} did not answer within {OPEN_LIMIT_S:.0f} s: a firewall may be between"
        case _:
            return f"{url} cannot be reached: {error or type(error).__name__}"


def _refusal(error: Error, room: str, servers: Servers) -> JoinFailed:
    said = f"({error.code}: {error.message})"
    match error.code:
        case "unauthorized":
            return JoinFailed(
                "refused",
                f"the node does not know this host token {said}: it is wrong, too old, or of another"
                f" cluster; make one with `tightbeam token host --room {room}`",
            )
        case "forbidden":
            return JoinFailed(
                "refused",
                f"the host token is not for room {room} {said}: name its room with --room, or make"
                f" one with `tightbeam token host --room {room}`",
            )
        case "host-present":
            return JoinFailed(
                "host-present",
                f"room {room} has a host already {said}: stop that agent, or use another room; it may"
                " be this machine's own",
                servers,
            )
        case _:
            return JoinFailed(
                "unreachable", f"the node cannot let us in now {said}: try again later"
            )
