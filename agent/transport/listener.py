"""Who is told what happens on a viewer's connection: the consumer's side of a peer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent.congestion.flight import Packet
from agent.rtp.rtcp import LossReport
from cluster.protocol.messages import Candidate


class PeerListener(Protocol):
    """Who is told what happens on a connection. All calls on the event loop."""

    def on_connected(self) -> None:
        """Media can be sent from now on; the first picture must be a key frame."""
        ...

    def on_candidate(self, candidate: Candidate) -> None:
        """A local candidate to trickle; "" when no more will come."""
        ...

    def on_keyframe_wanted(self) -> None:
        """The viewer needs a key frame; asked for as seldom as agent/rtp/keyframes.py says."""
        ...

    def on_report(self, report: LossReport) -> None:
        """A receiver report about the video."""
        ...

    def on_audio_report(self, report: LossReport) -> None:
        """A receiver report about the sound."""
        ...

    def on_feedback(self, packets: Sequence[Packet]) -> None:
        """What transport-wide feedback said of our packets, in the order of sending."""
        ...

    def on_channel(self, label: str) -> None:
        """A data channel is open."""
        ...

    def on_message(self, label: str, payload: bytes | str) -> None:
        """A message of a data channel, whatever its size and kind."""
        ...

    def on_closed(self, reason: str) -> None:
        """The connection is over and everything of it is released. Exactly once."""
        ...
