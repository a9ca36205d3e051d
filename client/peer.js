/**
 * One RTCPeerConnection to the host: offers, takes the answer and the candidates, and says how the way is.
 *
 * Flow: session.js carries its items through a negotiation log; the media go to the page's elements, the data
 * channels to input/channel.js, desk.js, meter.js, overlay.js and cursor-view.js. A peer is used once; a reconnection is a new one.
 *
 * @typedef {import("./messages.js").Item} Item
 * @typedef {{
 *   onItem: (item: Item) => void,
 *   onTrack: (track: MediaStreamTrack) => void,
 *   onState: (state: PeerState) => void,
 *   onStats: (message: ArrayBuffer) => void,
 *   onCursor: (message: ArrayBuffer) => void,
 * }} PeerListener
 */
import { ClipboardChannel } from "./clipboard-channel.js";
import { DeskChannel } from "./desk.js";
import { InputChannel } from "./input/channel.js";
import { codecPreferences, withRoundTrips, withStereo } from "./sdp.js";

/** @enum {string} */
export const PeerState = Object.freeze({
  CONNECTING: "connecting",
  CONNECTED: "connected",
  /** The way is interrupted and may come back by itself. */
  INTERRUPTED: "interrupted",
  FAILED: "failed",
});

/** These data channels lose rather than wait: docs/protocol.md 6. */
const LOSSY = Object.freeze({ ordered: false, maxRetransmits: 0 });

export class Peer {
  /** @type {PeerState} */
  state = PeerState.CONNECTING;
  /** Candidates that came before the answer. @type {RTCIceCandidateInit[]} */
  #early = [];
  #described = false;
  #closed = false;
  /** The host's items are applied one after the other, once the offer is. @type {Promise<void>} */
  #applied;

  /** @param {RTCPeerConnection} connection a new one @param {PeerListener} listener */
  constructor(connection, listener) {
    this.listener = listener;
    this.connection = connection;
    const video = connection.addTransceiver("video", { direction: "recvonly" });
    connection.addTransceiver("audio", { direction: "recvonly" });
    const codecs = codecPreferences(RTCRtpReceiver.getCapabilities?.("video")?.codecs ?? []);
    if (codecs.length > 0) video.setCodecPreferences?.(codecs);
    // The host's playout-delay extension asks the same; this is for browsers that do not know it.
    video.receiver.jitterBufferTarget = 0;
    this.input = new InputChannel(connection.createDataChannel("input", LOSSY));
    this.desk = new DeskChannel(connection.createDataChannel("desk"), this.input);
    this.stats = connection.createDataChannel("stats", LOSSY);
    this.stats.binaryType = "arraybuffer";
    this.stats.onmessage = ({ data }) => data instanceof ArrayBuffer && listener.onStats(data);
    this.clipboard = new ClipboardChannel(connection.createDataChannel("clipboard"));
    const cursor = connection.createDataChannel("cursor");
    cursor.binaryType = "arraybuffer";
    cursor.onmessage = ({ data }) => data instanceof ArrayBuffer && !this.#closed && listener.onCursor(data);
    connection.ontrack = ({ track }) => listener.onTrack(track);
    connection.onicecandidate = ({ candidate }) => this.#candidate(candidate);
    connection.onconnectionstatechange = () => this.#changed();
    this.input.channel.onclose = () => this.#become(PeerState.INTERRUPTED);
    this.#applied = this.#offer().catch((error) => this.#broken("make an offer", error));
  }

  async #offer() {
    const offer = await this.connection.createOffer();
    if (this.#closed) return;
    const sdp = withRoundTrips(withStereo(offer.sdp ?? ""));
    this.listener.onItem({ type: "offer", sdp }); // the host answers while the browser takes it itself
    await this.connection.setLocalDescription({ type: "offer", sdp }).catch(() => {
      // A browser may refuse a description that it did not write itself: sound is mono then.
      return this.connection.setLocalDescription(offer);
    });
  }

  /** @param {RTCIceCandidate | null} candidate */
  #candidate(candidate) {
    if (this.#closed) return;
    /** @type {Item} */
    const item = { type: "candidate", candidate: candidate?.candidate ?? "" };
    if (candidate && candidate.sdpMid !== null) item.sdpMid = candidate.sdpMid;
    if (candidate && candidate.sdpMLineIndex !== null) item.sdpMLineIndex = candidate.sdpMLineIndex;
    this.listener.onItem(item);
  }

  /** An item of the host's log; controls are the session's. @param {Item} item */
  apply(item) {
    this.#applied = this.#applied
      .then(() => this.#apply(item))
      .catch((error) => this.#broken(`apply the host's ${item.type}`, error));
  }

  /** @param {Item} item */
  async #apply(item) {
    if (this.#closed) return;
    if (item.type === "answer") {
      await this.connection.setRemoteDescription({ type: "answer", sdp: item.sdp });
      this.#described = true;
      for (const candidate of this.#early.splice(0)) await this.#add(candidate);
    } else if (item.type === "candidate") {
      const { candidate, sdpMid = null, sdpMLineIndex = null } = item;
      // "" without a section ends the candidates of all of them; browsers want to be told of none.
      if (candidate === "") return;
      const init = { candidate, sdpMid, sdpMLineIndex: sdpMid === null ? (sdpMLineIndex ?? 0) : sdpMLineIndex };
      if (this.#described) await this.#add(init);
      else this.#early.push(init);
    }
  }

  /** One bad candidate must not take the others with it. @param {RTCIceCandidateInit} candidate */
  async #add(candidate) {
    try {
      await this.connection.addIceCandidate(candidate);
    } catch (error) {
      console.warn("A candidate of the host is of no use:", error);
    }
  }

  #changed() {
    switch (this.connection.connectionState) {
      case "connected":
        return this.#become(PeerState.CONNECTED);
      case "disconnected":
        return this.#become(PeerState.INTERRUPTED);
      case "failed":
      case "closed":
        return this.#become(PeerState.FAILED);
    }
  }

  /** @param {PeerState} state */
  #become(state) {
    if (this.#closed || state === this.state || this.state === PeerState.FAILED) return;
    this.state = state;
    this.listener.onState(state);
  }

  /** @param {string} task @param {unknown} error */
  #broken(task, error) {
    if (this.#closed) return;
    console.error(`Cannot ${task}:`, error);
    this.#become(PeerState.FAILED);
  }

  /** A message on the `stats` channel, lost when that is not open or full. @param {ArrayBuffer} message */
  tellStats(message) {
    if (this.stats.readyState === "open" && this.stats.bufferedAmount === 0) this.stats.send(message);
  }

  /** Idempotent. The host sees the channels and the connection close at once. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.input.releaseAll();
    this.input.close();
    this.clipboard.close();
    this.desk.close();
    this.connection.ontrack = this.connection.onicecandidate = null;
    this.connection.onconnectionstatechange = null;
    this.connection.close();
  }
}
