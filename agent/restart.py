"""Tells an offer that restarts the ICE of a connection from one of a new connection: a core.

Differs: RFC 8445 2.4 has both sides keep their connection through a restart. Ours is new with every offer, and SCTP
knows no way for an association, and the data channels in it, to go on with another peer.
"""

from __future__ import annotations

import re
from typing import Final

REFUSAL: Final = "Offer from a new RTCPeerConnection: this host cannot restart the ICE of one that has data channels."
_NAMES: Final = re.compile(r"^(?:o=\S+ (\S+) |a=fingerprint:(.+?)\s*$)", re.MULTILINE)


def connection_of(sdp: str) -> str | None:
    """What names the RTCPeerConnection of an offer; None where that has no data channels and may restart.

    Its session id stays the same (RFC 8829 5.2.2), and so does its certificate.
    """
    if "\nm=application " not in sdp:
        return None
    return " ".join(dict.fromkeys("".join(names) for names in _NAMES.findall(sdp)))
