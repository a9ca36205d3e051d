"""What an answer agrees on: how each of our streams is sent, and who begins DTLS with which cipher first."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from agent.rtp.packet import (
    MID_URI,
    PLAYOUT_DELAY_URI,
    TRANSPORT_CC_URI,
    PlayoutDelay,
    StreamFormat,
)
from agent.transport.offer import Offer, Section
from agent.transport.sender import Streams


def prefer_gcm(dtls: Any) -> None:
    """AES-128-GCM first: the fastest of the three with AES instructions (RFC 7714)."""
    profiles = list(dtls._srtp_profiles)
    profiles.sort(key=lambda profile: profile.openssl_profile != b"SRTP_AEAD_AES_128_GCM")
    dtls._srtp_profiles = profiles


def become_dtls_server(dtls: Any) -> None:
    """Answer "passive" to "actpass": the server chooses the profile, and Chromium would not choose GCM.

    Differs: RFC 8842 5.3 recommends "active", to save half a round trip where the answer is late;
    ours is there before the viewer's first connectivity check.
    """
    if dtls._role == "auto":
        dtls._set_role("server")


def agree(offer: Offer, transceivers: Mapping[Any, Any], playout_delay: PlayoutDelay) -> Streams:
    """Have aiortc's transceivers, by kind, answer with what `offer` has left; what we send then."""
    formats: dict[str, StreamFormat] = {}
    for section in offer.sections:
        if section.kind == "application":
            continue
        transceiver = transceivers[section.kind]
        transceiver._codecs = list(section.codecs)
        transceiver._headerExtensions = list(section.extensions)
        formats[section.kind] = _format(section, transceiver.sender._ssrc, playout_delay)
    video = next(section for section in offer.sections if section.kind == "video")
    return Streams(
        codec=offer.video_codec,
        profile=offer.profile,
        video=formats["video"],
        audio=formats.get("audio"),
        rtx_payload_type=video.rtx_payload_type,
        rtx_ssrc=transceivers["video"].sender._rtx_ssrc,
        fec=_parity_format(video),
    )


def _format(section: Section, ssrc: int, playout_delay: PlayoutDelay) -> StreamFormat:
    return StreamFormat(
        payload_type=section.payload_type,
        ssrc=ssrc,
        mid=section.mid,
        mid_id=section.extension_id(MID_URI),
        transport_cc_id=section.extension_id(TRANSPORT_CC_URI),
        playout_delay_id=section.extension_id(PLAYOUT_DELAY_URI),
        playout_delay=playout_delay,
    )


def _parity_format(video: Section) -> StreamFormat | None:
    if video.fec_payload_type is None:
        return None
    return StreamFormat(
        payload_type=video.fec_payload_type,
        ssrc=secrets.randbits(32),
        transport_cc_id=video.extension_id(TRANSPORT_CC_URI),
    )
