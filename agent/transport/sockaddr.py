"""The address of a datagram in the system's own form, for send calls that Python's socket module has not got."""

from __future__ import annotations

import socket
import struct
from typing import Any


def sockaddr(family: int, address: tuple[str, int]) -> bytes:
    """The sockaddr_in or sockaddr_in6 of a numeric address; raises OSError for any other.

    Linux and Windows lay them out alike. Python's own addresses of IPv6 have four parts, of which the first says all.
    """
    host, port = address[:2]
    found = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)
    numeric: tuple[Any, ...] = found[0][4]
    head = struct.pack("=H", family) + struct.pack("!H", port)
    if family == socket.AF_INET:
        return head + socket.inet_aton(host) + bytes(8)
    flow, scope = numeric[2], numeric[3]
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return head + struct.pack("!I", flow) + packed + struct.pack("=I", scope)
