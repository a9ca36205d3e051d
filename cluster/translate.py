"""Between a Tightbeam host and a plain peer: the same items, with addresses there and without here. A core."""

from __future__ import annotations

from typing import Any

import orjson

from cluster.protocol.messages import (
    ID_PATTERN,
    MessageError,
    PeerId,
    item_object,
    parse_item,
)


def from_host(obj: dict[str, Any], host: PeerId) -> tuple[PeerId, bytes]:
    """A host's item for a plain peer: whom it is for, and the frame without the addresses."""
    to = obj.get("to")
    if not isinstance(to, str) or not ID_PATTERN.fullmatch(to):
        raise MessageError("to: expected a peer id")
    if obj.get("from") != host:
        raise MessageError("from: expected your own peer id")
    return PeerId(to), orjson.dumps(item_object(parse_item(obj)))


def to_host(frame: bytes, sender: PeerId) -> bytes:
    """A plain peer's frame, already checked, for the host of its room: with the sender's address."""
    return orjson.dumps(item_object(parse_item(orjson.loads(frame))) | {"from": sender})
