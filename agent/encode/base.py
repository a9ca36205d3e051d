"""What a video encoder backend is: a captured frame goes in, an access unit comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Protocol

from agent.capture.base import Frame

VideoCodec = Literal["H264", "VP8", "VP9"]

Profile = Literal["baseline", "main", "high"]
"""Of H.264, from the least to the most: baseline is Constrained Baseline here."""

PROFILES: Final[tuple[Profile, ...]] = ("baseline", "main", "high")


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """What an encoder is opened with; a change of size or codec opens a new one."""

    width: int
    """Of the captured picture, as is the height."""
    height: int
    fps: int
    bitrate_bps: int
    profile: Profile = "baseline"
    """The most that the viewers decode; of no meaning to other codecs than H.264."""
    size_divisor: int = 1
    """The picture is encoded at this part of its width and height."""
    surface: str = ""
    """FFmpeg's pixel format of pictures that come in the graphics card's memory (`d3d11`); empty: in the computer's."""
    room: bool = False
    """Some pictures may take many times the mean: the path carries such a one within its interval."""
    shared: bool = False
    """The encoder of another thread has the same surfaces, and may be writing their times: they are copied out."""


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One encoded picture, ready for packetization.

    `payload` is an H.264 access unit in Annex B form (SPS and PPS before every IDR) or one VP8 or VP9 frame.
    """

    codec: VideoCodec
    payload: bytes
    keyframe: bool
    captured_us: int
    """Capture time, microseconds of the monotonic clock; the RTP timestamp is made from it."""
    grab_us: int
    convert_us: int
    encode_us: int


class EncoderUnavailable(Exception):
    """The encoder cannot be opened here; the text says why and what to do."""


class VideoEncoder(Protocol):
    """One opened encoder. All methods are called from one thread; other encoders run beside it in another.

    A backend class also has a static `probe() -> str | None`: None when it can be used here, else the
    reason in words. Constructing it from EncoderSettings opens it or raises EncoderUnavailable.
    """

    name: ClassVar[str]
    codec: ClassVar[VideoCodec]
    profiles: ClassVar[tuple[Profile, ...]]
    """Of H.264, those that it makes, in the order in which it likes to be asked for them."""
    uses_room: ClassVar[bool]
    """Whether it encodes in another way where `EncoderSettings.room` says so, and is opened anew for that."""
    reason: str
    """Why none of the better ones was opened, in words; whoever opened it says so. Empty: there is none."""

    def encode(self, frame: Frame, *, keyframe: bool) -> AccessUnit:
        """Encode one picture, with no delay: what goes in comes out. Does not release the frame.

        It takes pictures in the memory that its settings name. An encoder that cannot read the graphics
        card's copies the picture out of it, which costs as much as capturing it to the computer's memory.

        `keyframe` makes it an IDR (H.264) or key frame (VP8, VP9).
        """
        ...

    def set_bitrate(self, bitrate_bps: int) -> None:
        """Aim at another rate from the next frame on, without a key frame where the encoder can."""
        ...

    def close(self) -> None:
        """Give back every resource. Idempotent."""
        ...
