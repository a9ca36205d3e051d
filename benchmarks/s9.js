/**
 * Runs in the peer's own page before any of its scripts: clicks its button, if it has one, as soon as a hand could, and
 * tells when that was and when the first frame of its video was presented, in ms since the navigation began. What
 * happens between them in a page of ours is marked, too.
 */
window.__s9 = { clicked: null, presented: null, marks: {} };
window.__s9.watch = (video, button) => {
  const look = () => {
    const press = button && document.querySelector(button);
    const ready = document.readyState === "complete"; // its scripts listen
    if (ready && press && !press.hidden && !press.disabled && window.__s9.clicked === null) {
      window.__s9.clicked = performance.now();
      press.click();
    }
    const shown = document.querySelector(video);
    if (!shown?.requestVideoFrameCallback) return requestAnimationFrame(look);
    shown.requestVideoFrameCallback((now, { receiveTime }) => {
      window.__s9.marks.received = receiveTime;
      window.__s9.presented = now;
    });
    if (button && window.__s9.clicked === null) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
};

{
  /** The first time only. @param {string} name */
  const mark = (name) => (window.__s9.marks[name] ??= performance.now());
  /** Of a frame of signaling, as docs/protocol.md has them. @param {unknown} frame */
  const read = (frame) => {
    if (typeof frame !== "string" || !frame.startsWith("{")) return;
    const { type, role, items = [] } = JSON.parse(frame);
    if (type === "welcome") mark("joined");
    if (type === "peer-joined" && role === "host") mark("host");
    for (const item of items) if (item.type === "offer" || item.type === "answer") mark(item.type);
  };
  window.WebSocket = class extends WebSocket {
    /** @param {ConstructorParameters<typeof WebSocket>} words */
    constructor(...words) {
      super(...words);
      this.addEventListener("open", () => mark("socket"));
      this.addEventListener("message", ({ data }) => read(data));
    }
    /** @param {Parameters<WebSocket["send"]>} frame */
    send(...frame) {
      read(frame[0]);
      super.send(...frame);
    }
  };
  window.RTCPeerConnection = class extends RTCPeerConnection {
    /** @param {ConstructorParameters<typeof RTCPeerConnection>} words */
    constructor(...words) {
      super(...words);
      this.addEventListener("iceconnectionstatechange", () => {
        if (this.iceConnectionState === "connected") mark("path");
      });
      this.addEventListener("connectionstatechange", () => {
        if (this.connectionState === "connected") mark("secured");
      });
    }
  };
}
