/**
 * Tells the host when frames arrived, while it asks: its rate follows them where nothing else tells it of delays
 * (docs/protocol.md 6.4). Not all the time, for to be called back for every frame costs a browser a tenth of a core.
 */
import { MAX_ARRIVALS, encodeArrivals, parseWant } from "./frames.js";

/** How often: a queue of more than that is seen late. */
const TELL_EVERY_MS = 50;
/** So long after the host has asked last; it asks once a second. */
const WANTED_MS = 3000;

export class Arrivals {
  /** @type {import("./peer.js").Peer | null} */
  #peer = null;
  #wantedUntil = 0;
  #watching = false;
  /** The newest; each is told several times, for messages get lost. @type {import("./frames.js").Arrival[]} */
  #arrivals = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.video = video;
  }

  /** Tell of this connection from now on; null: none plays. @param {import("./peer.js").Peer | null} peer */
  follow(peer) {
    if (peer === this.#peer) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#peer = peer;
    this.#arrivals = [];
    this.#wantedUntil = 0;
  }

  /** A message of the `stats` channel. @param {ArrayBuffer} message */
  hostSaid(message) {
    if (!parseWant(message) || !("requestVideoFrameCallback" in this.video)) return;
    this.#wantedUntil = performance.now() + WANTED_MS;
    if (!this.#watching) this.#watch();
  }

  #watch() {
    this.#watching = true;
    this.video.requestVideoFrameCallback((now, { rtpTimestamp, receiveTime }) => {
      this.#watching = false;
      if (now > this.#wantedUntil) return;
      if (rtpTimestamp !== undefined && receiveTime !== undefined) this.#note({ rtpTimestamp, received: receiveTime });
      this.#watch();
    });
  }

  /** @param {import("./frames.js").Arrival} arrival */
  #note(arrival) {
    this.#arrivals.push(arrival);
    if (this.#arrivals.length > MAX_ARRIVALS) this.#arrivals.shift();
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#peer?.tellStats(encodeArrivals(this.#arrivals));
    }, TELL_EVERY_MS);
  }
}
