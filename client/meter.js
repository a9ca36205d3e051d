/**
 * Measures while a picture plays: watches its frames, asks the host for its clock and its frames, and tells it every two
 * seconds what came out. legs.js has the arithmetic; overlay.js shows it.
 */
import { HostClock } from "./clock.js";
import { LEGS, encodeAsk, encodeLegs, parseClock, parseFrames } from "./frames.js";
import { Legs, percentile, refreshAfter } from "./legs.js";

const ASK_EVERY_MS = 500;
const TELL_EVERY_MS = 2000;
/** Long enough for some clicks, short enough for what is true now. */
const SHOWN_MS = 10_000;
const REFRESHES = 15;

export class Meter {
  /** @type {import("./peer.js").Peer | null} */
  #peer = null;
  #clock = new HostClock();
  #legs = new Legs(this.#clock, () => undefined);
  #frames = 0;
  #toldAt = 0;
  /** Times between two refreshes of the screen. @type {number[]} */
  #intervals = [];
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.video = video;
  }

  /** Measure this connection from now on; null: none plays. @param {import("./peer.js").Peer | null} peer */
  follow(peer) {
    if (peer === this.#peer || !("requestVideoFrameCallback" in this.video)) return;
    clearInterval(this.#timer);
    this.#peer = peer;
    if (!peer) return;
    this.#clock = new HostClock();
    this.#legs = new Legs(this.#clock, (sequence) => peer.input.pressedAt(sequence));
    this.#frames = 0;
    this.#toldAt = performance.now();
    this.#timer = setInterval(() => this.#ask(peer), ASK_EVERY_MS);
    this.#ask(peer);
    this.#watch(peer);
  }

  /** A message of the `stats` channel. @param {ArrayBuffer} message */
  hostSaid(message) {
    const now = performance.now();
    const clock = parseClock(message);
    if (clock) this.#clock.add(clock, now);
    const frames = clock ? null : parseFrames(message);
    if (frames) this.#legs.tell(frames, now);
  }

  /** Frames since the last look, and the legs of the last seconds; null: this browser does not tell of frames. */
  take() {
    if (!("requestVideoFrameCallback" in this.video)) return null;
    const now = performance.now();
    this.#legs.join(now);
    const taken = { frames: this.#frames, legs: this.#legs.spreads(now - SHOWN_MS), error: this.#clock.offset(now)?.error };
    this.#frames = 0;
    return taken;
  }

  /** @param {import("./peer.js").Peer} peer */
  #watch(peer) {
    this.video.requestVideoFrameCallback((refresh, metadata) => {
      if (peer !== this.#peer) return;
      const { rtpTimestamp, receiveTime, processingDuration, presentationTime } = metadata;
      this.#frames += 1;
      const interval = percentile(this.#intervals, 0.25);
      if (interval) {
        this.#legs.present({
          rtpTimestamp,
          received: receiveTime,
          decode: processingDuration === undefined ? undefined : processingDuration * 1000,
          submitted: presentationTime,
          shown: refreshAfter(presentationTime, refresh, interval),
        });
      }
      this.#watch(peer);
    });
  }

  /** @param {import("./peer.js").Peer} peer */
  #ask(peer) {
    if (document.hidden) return; // no frame is shown either
    requestAnimationFrame((first) => {
      requestAnimationFrame((second) => {
        this.#intervals.push(second - first);
        if (this.#intervals.length > REFRESHES) this.#intervals.shift();
      });
    });
    const now = performance.now();
    if (now - this.#toldAt >= TELL_EVERY_MS) this.#tell(peer, now);
    peer.tellStats(encodeAsk(performance.now()));
  }

  /** @param {import("./peer.js").Peer} peer @param {number} now */
  #tell(peer, now) {
    this.#legs.join(now);
    const spreads = this.#legs.spreads(this.#toldAt);
    this.#toldAt = now;
    const medians = LEGS.map((leg) => [leg, spreads[leg]?.median]).filter(([, median]) => median !== undefined);
    if (medians.length > 0) peer.tellStats(encodeLegs(Object.fromEntries(medians)));
  }
}
