"""A browser's offer: what of it we take, in words what is wrong with it, and the formats of the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiortc import sdp
from aiortc.rtcrtpparameters import (
    RTCRtcpFeedback,
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
)

from agent.encode.base import PROFILES, Profile, VideoCodec
from agent.rtp.packet import MID_URI, PLAYOUT_DELAY_URI, TRANSPORT_CC_URI
from cluster.protocol.messages import Candidate

Kind = Literal["video", "audio", "application"]

VIDEO_FEEDBACK: Final = (
    ("nack", None),
    ("nack", "pli"),
    ("ccm", "fir"),
    ("transport-cc", None),
    ("rrtr", None),
)
FLEXFEC: Final = "video/flexfec-03"
"""The name in draft-ietf-payload-flexible-fec-scheme-03 5.1.1 is flexfec; browsers call this version so."""
REPAIR_WINDOW_US: Final = 10_000_000
"""What libwebrtc offers; the parameter is required (5.1.1) and ignored."""
OPUS_PARAMETERS: Final[dict[str, int | str | None]] = {
    "minptime": 10,
    "useinbandfec": 1,
    "stereo": 1,
    "sprop-stereo": 1,
}
"""RFC 7587 6.1: stereo, in packets of 10 ms."""
CONSTRAINT_SET1: Final = 0x40
_NAMES: Final[Mapping[str, VideoCodec]] = {
    "video/h264": "H264",
    "video/vp8": "VP8",
    "video/vp9": "VP9",
}
_PROFILE_IDC: Final[Mapping[str, Profile]] = {"42": "baseline", "4d": "main", "64": "high"}
"""RFC 6184 8.1, the first byte of profile-level-id."""
MAX_EXTENSION_ID: Final = 14
MAX_EXTENSION_BYTES: Final = 16
"""Of a one-byte header extension (RFC 8285 4.2)."""
MAX_PAYLOAD_TYPE: Final = 127
"""RFC 3550 5.1: 7 bits."""


@dataclass(frozen=True, slots=True)
class Section:
    """One media section that we answer: its formats as they stand in the answer."""

    kind: Kind
    mid: str
    codecs: tuple[RTCRtpCodecParameters, ...] = ()
    extensions: tuple[RTCRtpHeaderExtensionParameters, ...] = ()

    @property
    def payload_type(self) -> int:
        """Of the codec that we send."""
        return int(self.codecs[0].payloadType or 0)

    @property
    def rtx_payload_type(self) -> int | None:
        """Of retransmissions; None when the offer has none."""
        return self._type_of("video/rtx")

    @property
    def fec_payload_type(self) -> int | None:
        """Of parity packets; None when the offer has none."""
        return self._type_of(FLEXFEC)

    def _type_of(self, name: str) -> int | None:
        return next((codec.payloadType for codec in self.codecs if codec.mimeType == name), None)

    def extension_id(self, uri: str) -> int | None:
        """The id under which a header extension was offered."""
        return next((ext.id for ext in self.extensions if ext.uri == uri), None)


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer that we can answer. `sdp` is for aiortc, without its candidates, which are in `candidates`."""

    sdp: str
    candidates: tuple[Candidate, ...]
    sections: tuple[Section, ...]
    video_codec: VideoCodec
    profile: Profile = "baseline"
    """Of H.264: what may be sent at most."""

    def section(self, kind: Kind) -> Section | None:
        """The section of a kind; there is at most one."""
        return next((section for section in self.sections if section.kind == kind), None)


def read_offer(text: str, profiles: Sequence[Profile] = PROFILES) -> Offer:
    """Check an offer and choose its formats; raise ValueError in words.

    `profiles` are the H.264 profiles that can be sent, the one to be preferred first.
    """
    bare, candidates = _without_candidates(text)
    try:
        parsed = sdp.SessionDescription.parse(bare)
    except (ValueError, AssertionError, LookupError, StopIteration, AttributeError, TypeError):
        raise ValueError("the offer is not a session description that can be read") from None
    kinds = [media.kind for media in parsed.media]
    if kinds.count("video") != 1 or kinds.count("audio") > 1 or kinds.count("application") > 1:
        raise ValueError(
            "the offer must have one video section, at most one audio section and at most one"
            f" data channel section, got: {', '.join(kinds) or 'none'}"
        )
    if len(kinds) != kinds.count("video") + kinds.count("audio") + kinds.count("application"):
        raise ValueError(f"the offer has sections of other kinds: {', '.join(kinds)}")
    if kinds[0] == "application":
        raise ValueError("the offer must begin with video or audio, got the data channel section")
    _check_transport(parsed)
    sections = tuple(_section(media, profiles) for media in parsed.media)
    chosen = next(section.codecs[0] for section in sections if section.kind == "video")
    name, profile = _NAMES[chosen.mimeType.lower()], _profile(chosen) or "baseline"
    return Offer(_for_aiortc(bare, chosen), candidates, sections, name, profile)


def _without_candidates(text: str) -> tuple[str, tuple[Candidate, ...]]:
    """Candidates take their own way, so that an mDNS name does not hold up the answer.

    The end of candidates is left out: RFC 8863 3 keeps checks alive long after it, because the
    viewer's own checks show addresses (peer reflexive) that its candidates did not.
    """
    kept: list[str] = []
    candidates: list[Candidate] = []
    index = -1
    for line in text.splitlines():
        index += line.startswith("m=")
        if line.startswith("a=candidate:"):
            candidates.append(Candidate(line[2:], sdp_mline_index=max(index, 0)))
        elif line != "a=end-of-candidates":
            kept.append(line)
    return "\r\n".join(kept) + "\r\n", tuple(candidates)


def _for_aiortc(text: str, chosen: RTCRtpCodecParameters) -> str:
    """The offer with our codec under the name of one that aiortc knows.

    It refuses a section with none of its own (VP8, H.264 Baseline), and has nothing else to do with
    codecs: those of the answer are set after it has read the offer.
    """
    return re.sub(rf"(a=rtpmap:{chosen.payloadType}) \S+", r"\1 VP8/90000", text)


def _check_transport(parsed: sdp.SessionDescription) -> None:
    bundle = next((group.items for group in parsed.group if group.semantic == "BUNDLE"), [])
    mids = [media.rtp.muxId for media in parsed.media]
    if bundle != mids or "" in mids:
        raise ValueError(f"the offer must bundle its sections in order, got {bundle} for {mids}")
    for media in parsed.media:
        if not media.ice or not media.ice.usernameFragment or not media.ice.password:
            raise ValueError("the offer has no ice-ufrag or ice-pwd")
        if not media.dtls or not media.dtls.fingerprints:
            raise ValueError("the offer has no certificate fingerprint or no setup attribute")
        if media.kind != "application" and not media.rtcp_mux:
            raise ValueError("the offer must multiplex RTP and RTCP (rtcp-mux)")
        if media.kind != "application" and media.direction not in ("recvonly", "sendrecv", None):
            raise ValueError(f"the offer must receive {media.kind}, got {media.direction}")
        types = [codec.payloadType or 0 for codec in media.rtp.codecs]
        if not all(0 <= number <= MAX_PAYLOAD_TYPE for number in types):
            raise ValueError(f"payload types must be 0 to {MAX_PAYLOAD_TYPE}, got {types}")
        if media.kind == "application" and media.profile != "UDP/DTLS/SCTP":
            raise ValueError(f"data channels: expected UDP/DTLS/SCTP, got {media.profile}")
        if media.kind == "application" and media.sctp_port is None:
            raise ValueError("the data channel section has no sctp-port")


def _section(media: sdp.MediaDescription, profiles: Sequence[Profile]) -> Section:
    if media.kind == "application":
        return Section("application", media.rtp.muxId)
    fits = len(media.rtp.muxId.encode()) <= MAX_EXTENSION_BYTES
    wanted = {MID_URI} if fits else set()
    if media.kind == "audio":
        codecs = _opus(media.rtp.codecs)
    else:
        wanted |= {TRANSPORT_CC_URI, PLAYOUT_DELAY_URI}
        codecs = _video(media.rtp.codecs, profiles)
    extensions = tuple(
        ext
        for ext in media.rtp.headerExtensions
        if ext.uri in wanted and 1 <= ext.id <= MAX_EXTENSION_ID
    )
    kind: Kind = "audio" if media.kind == "audio" else "video"
    return Section(kind, media.rtp.muxId, codecs, extensions)


def _opus(offered: list[RTCRtpCodecParameters]) -> tuple[RTCRtpCodecParameters, ...]:
    for codec in offered:
        if codec.mimeType.lower() == "audio/opus" and codec.clockRate == 48000:
            return (
                RTCRtpCodecParameters(
                    mimeType="audio/opus",
                    clockRate=48000,
                    channels=2,
                    payloadType=codec.payloadType,
                    parameters=dict(OPUS_PARAMETERS),
                ),
            )
    raise ValueError("the offer has no Opus in its audio section")


def _profile(codec: RTCRtpCodecParameters) -> Profile | None:
    """The H.264 profile that a format allows, in packetization-mode 1; None for others."""
    if codec.mimeType.lower() != "video/h264":
        return None
    if str(codec.parameters.get("packetization-mode", "0")) != "1":
        return None
    written = str(codec.parameters.get("profile-level-id", "42e01f")).lower()
    return _PROFILE_IDC.get(written[:2]) if re.fullmatch("[0-9a-f]{6}", written) else None


def _rank(codec: RTCRtpCodecParameters, profiles: Sequence[Profile]) -> tuple[int, int] | None:
    """H.264 by the order of `profiles`, then VP8, then VP9, which costs most; None for what is not sent."""
    name = codec.mimeType.lower()
    if codec.clockRate != 90000:
        return None
    if name == "video/vp8":
        return len(profiles), 0
    if name == "video/vp9" and str(codec.parameters.get("profile-id", "0")) == "0":
        return len(profiles) + 1, 0
    profile = _profile(codec)
    if profile is None or profile not in profiles:
        return None
    constraints = str(codec.parameters.get("profile-level-id", "42e01f"))[2:4]
    plain = profile == "baseline" and not int(constraints, 16) & CONSTRAINT_SET1
    return profiles.index(profile), int(plain)


def _video(
    offered: list[RTCRtpCodecParameters], profiles: Sequence[Profile]
) -> tuple[RTCRtpCodecParameters, ...]:
    """The codec to send, and its retransmission format when there is one."""
    ranked = [
        (rank, position, codec)
        for position, codec in enumerate(offered)
        if (rank := _rank(codec, profiles)) is not None
    ]
    if not ranked:
        raise ValueError(
            "the offer has neither H.264 (packetization-mode 1) nor VP8 nor VP9 in its video section"
        )
    chosen = min(ranked, key=lambda entry: entry[:2])[2]
    return _answered(chosen), *_retransmission(chosen, offered), *_parity(offered)


def _answered(codec: RTCRtpCodecParameters) -> RTCRtpCodecParameters:
    offered = {(feedback.type, feedback.parameter) for feedback in codec.rtcpFeedback}
    name = _NAMES[codec.mimeType.lower()]
    parameters: dict[str, Any] = {}
    if name == "H264":
        parameters = {
            "level-asymmetry-allowed": "1",
            "packetization-mode": "1",
            "profile-level-id": codec.parameters.get("profile-level-id", "42e01f"),
        }
    elif name == "VP9":
        parameters = {"profile-id": "0"}
    return RTCRtpCodecParameters(
        mimeType=f"video/{name}",
        clockRate=90000,
        payloadType=codec.payloadType,
        rtcpFeedback=[
            RTCRtcpFeedback(kind, parameter)
            for kind, parameter in VIDEO_FEEDBACK
            if (kind, parameter) in offered
        ],
        parameters=parameters,
    )


def _retransmission(
    chosen: RTCRtpCodecParameters, offered: list[RTCRtpCodecParameters]
) -> tuple[RTCRtpCodecParameters, ...]:
    for codec in offered:
        if (
            codec.mimeType.lower() == "video/rtx"
            and codec.parameters.get("apt") == chosen.payloadType
        ):
            return (
                RTCRtpCodecParameters(
                    mimeType="video/rtx",
                    clockRate=90000,
                    payloadType=codec.payloadType,
                    parameters={"apt": chosen.payloadType},
                ),
            )
    return ()


def _parity(offered: list[RTCRtpCodecParameters]) -> tuple[RTCRtpCodecParameters, ...]:
    for codec in offered:
        if codec.mimeType.lower() == FLEXFEC and codec.clockRate == 90000:
            return (
                RTCRtpCodecParameters(
                    mimeType=FLEXFEC,
                    clockRate=90000,
                    payloadType=codec.payloadType,
                    parameters={"repair-window": REPAIR_WINDOW_US},
                ),
            )
    return ()


def with_parity_stream(answer: str, video_ssrc: int, fec_ssrc: int) -> str:
    """The answer with the group that tells which stream the parity packets protect (RFC 5956 4.1).

    Chromium takes no parity packet without it, and takes the first SSRC named for the video's.
    """
    found = re.search(rf"(?m)^(a=ssrc:{video_ssrc} (cname:[^\r\n]*)\r\n(?:a=ssrc:.*\r\n)*)", answer)
    if found is None:
        raise ValueError(f"the answer does not name the video stream {video_ssrc}")
    group = f"a=ssrc-group:FEC-FR {video_ssrc} {fec_ssrc}\r\n"
    source = f"a=ssrc:{fec_ssrc} {found[2]}\r\n"
    return answer[: found.start()] + group + found[1] + source + answer[found.end() :]
