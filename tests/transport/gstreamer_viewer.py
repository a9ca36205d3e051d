"""GStreamer's webrtcbin as a viewer: a program for the system's Python, which has GStreamer's bindings.

usage: gstreamer_viewer.py H264|VP8
Out goes a JSON line with the offer, then one whenever something changed: how many pictures and sounds were decoded,
and whether the data channel is open. In comes a line with the answer, then lines with candidates.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

DECODERS = {
    "H264": "rtph264depay ! h264parse ! avdec_h264",
    "VP8": "rtpvp8depay ! vp8dec",
    "OPUS": "rtpopusdepay ! opusdec",
}
FORMATS = {
    "H264": "video,encoding-name=H264,clock-rate=90000,packetization-mode=(string)1,"
    "profile-level-id=(string)42e01f",
    "VP8": "video,encoding-name=VP8,clock-rate=90000",
    "OPUS": "audio,encoding-name=OPUS,clock-rate=48000,encoding-params=(string)2",
}


class Viewer:
    def __init__(self, codec: str) -> None:
        self.lock = threading.Lock()
        self.pipeline = Gst.Pipeline()
        self.rtc = Gst.ElementFactory.make("webrtcbin")
        self.rtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.rtc.set_property("latency", 0)
        self.pipeline.add(self.rtc)
        self.said: dict[str, Any] = {"pictures": 0, "sounds": 0, "size": [0, 0], "channel": ""}
        self.rtc.connect("pad-added", self.receive)
        self.rtc.connect("notify::ice-gathering-state", self.gathered)
        # A data channel can be made once it is ready, as can transceivers.
        self.pipeline.set_state(Gst.State.READY)
        for payload, name in ((96, codec), (111, "OPUS")):
            caps = Gst.caps_from_string(
                f"application/x-rtp,media={FORMATS[name]},payload={payload},"
                "rtcp-fb-nack=(boolean)true,rtcp-fb-nack-pli=(boolean)true"
            )
            only = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
            self.rtc.emit("add-transceiver", only, caps)
        options = Gst.Structure.from_string("o, ordered=(boolean)false, max-retransmits=(int)0")[0]
        channel = self.rtc.emit("create-data-channel", "input", options)
        channel.connect("on-open", lambda _: self.tell(channel="open"))
        self.pipeline.set_state(Gst.State.PLAYING)
        self.rtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered))

    def offered(self, promise: Any) -> None:
        reply = promise.get_reply()  # the offer lives as long as this
        offer = reply.get_value("offer")
        self.rtc.emit("set-local-description", offer, Gst.Promise.new())

    def gathered(self, *_: Any) -> None:
        done = GstWebRTC.WebRTCICEGatheringState.COMPLETE
        if self.rtc.get_property("ice-gathering-state") == done:
            sdp = self.rtc.get_property("local-description").sdp.as_text()
            print(json.dumps({"offer": sdp}), flush=True)
            threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        for line in sys.stdin:
            GLib.idle_add(self.hear, json.loads(line))
        GLib.idle_add(loop.quit)

    def hear(self, message: dict[str, Any]) -> None:
        if "answer" in message:
            _, sdp = GstSdp.SDPMessage.new_from_text(message["answer"])
            kind = GstWebRTC.WebRTCSDPType.ANSWER
            answer = GstWebRTC.WebRTCSessionDescription.new(kind, sdp)
            self.rtc.emit("set-remote-description", answer, Gst.Promise.new())
        else:
            self.rtc.emit("add-ice-candidate", message["index"], message["candidate"])

    def receive(self, _: Any, pad: Any) -> None:
        name = pad.get_current_caps().get_structure(0).get_value("encoding-name")
        sink = Gst.parse_bin_from_description(
            f"{DECODERS[name]} ! fakesink name=sink sync=false signal-handoffs=true", True
        )
        what = "sounds" if name == "OPUS" else "pictures"
        sink.get_by_name("sink").connect("handoff", self.decoded, what)
        self.pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))

    def decoded(self, _: Any, __: Any, pad: Any, what: str) -> None:
        if what == "pictures":
            shape = pad.get_current_caps().get_structure(0)
            self.said["size"] = [shape.get_value("width"), shape.get_value("height")]
        self.tell(**{what: self.said[what] + 1})

    def tell(self, **news: Any) -> None:
        with self.lock:  # each stream has a thread of its own
            self.said |= news
            print(json.dumps(self.said), flush=True)


Gst.init(None)
loop = GLib.MainLoop()
viewer = Viewer(sys.argv[1])
loop.run()
viewer.pipeline.set_state(Gst.State.NULL)
