"""Whether a TURN server relays for us: one allocation, given back at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

from aioice import stun, turn

from agent.transport.candidates import ServerAddress
from agent.transport.relay import ALLOCATE_LIMIT_S


class Unreachable(Exception):
    """The text says why, and what to do."""


class _Relay(asyncio.DatagramProtocol):
    """Receives nothing; tells when the allocation is gone."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


async def resolve(server: ServerAddress) -> str:
    """The first IPv4 address of a server. Raises Unreachable."""
    try:
        found = await asyncio.wait_for(
            asyncio.get_running_loop().getaddrinfo(server.host, server.port, family=socket.AF_INET),
            ALLOCATE_LIMIT_S,
        )
    except (OSError, TimeoutError):
        raise Unreachable(f"the host name {server.host} is not known as IPv4: check DNS") from None
    return str(found[0][4][0])


async def allocate(server: ServerAddress) -> tuple[str, int]:
    """Our relayed address. Raises Unreachable."""
    try:
        transport, relay = await asyncio.wait_for(
            turn.create_turn_endpoint(
                _Relay,
                (server.host, server.port),
                server.username,
                server.credential,
                ssl=server.tls or None,
                transport=server.transport,
            ),
            ALLOCATE_LIMIT_S,
        )
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"its certificate is not trusted ({error.verify_message})") from error
    except stun.TransactionFailed as error:
        code = error.response.attributes.get("ERROR-CODE", (0, ""))
        raise Unreachable(_refusal(*code)) from error
    except (TimeoutError, stun.TransactionTimeout) as error:
        raise Unreachable(
            f"no answer within {ALLOCATE_LIMIT_S:.0f} s: a firewall may drop"
            f" {server.transport.upper()} to port {server.port}"
        ) from error
    except OSError as error:
        raise Unreachable(f"it cannot be reached: {error}") from error
    host, port = transport.get_extra_info("sockname")
    transport.close()
    with contextlib.suppress(TimeoutError):  # the server frees it by itself, later
        await asyncio.wait_for(relay.ended.wait(), ALLOCATE_LIMIT_S)
    return str(host), int(port)


def _refusal(code: int, reason: str) -> str:
    """By RFC 8656 15 and RFC 8489 14.8."""
    match code:
        case 401:
            return "it refuses the node's credential (401): is TURN_SECRET the same as coturn's?"
        case 486 | 508:
            return f"it has no room for another relay now ({code}): see coturn's quotas and ports"
        case _:
            return f"it refuses to relay ({code} {reason})"
