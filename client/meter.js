/**
 * Measures while a picture plays: watches its frames, asks the host for its clock and its frames, and tells it what came
 * out. All the time while somebody looks, else three seconds of every ten: to be called back for every frame costs a
 * browser a tenth of a core. legs.js has the arithmetic; overlay.js shows it.
 */
import { HostClock } from "./clock.js";
import { LEGS, encodeAsk, encodeFreezes, encodeLegs, parseClock, parseFrames } from "./frames.js";
import { Legs, percentile, refreshAfter } from "./legs.js";
import { totalsOf } from "./stats.js";

const ASK_EVERY_MS = 500;
const TELL_EVERY_MS = 2000;
const CYCLE_MS = 10_000;
const MEASURE_MS = 3000;
/** Long enough for some clicks, short enough for what is true now. */
const SHOWN_MS = 10_000;
const REFRESHES = 15;

export class Meter {
  /** @type {import("./peer.js").Peer | null} */
  #peer = null;
  #clock = new HostClock();
  #legs = new Legs(this.#clock, () => undefined);
  #frames = 0;
  #measuring = false;
  #since = 0;
  #toldAt = 0;
  #countedAt = 0;
  /** Times between two refreshes of the screen. @type {number[]} */
  #intervals = [];
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {HTMLVideoElement} video @param {() => boolean} looked whether somebody looks at the figures */
  constructor(video, looked) {
    this.video = video;
    this.looked = looked;
  }

  /** Measure this connection from now on; null: none plays. @param {import("./peer.js").Peer | null} peer */
  follow(peer) {
    if (peer === this.#peer || !("requestVideoFrameCallback" in this.video)) return;
    clearInterval(this.#timer);
    this.#peer = peer;
    this.#measuring = false;
    if (!peer) return;
    this.#clock = new HostClock();
    this.#since = performance.now();
    this.#timer = setInterval(() => this.#turn(peer), ASK_EVERY_MS);
    this.#turn(peer);
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

  /** @param {Legs} legs */
  #watch(legs) {
    this.video.requestVideoFrameCallback((refresh, metadata) => {
      if (legs !== this.#legs || !this.#measuring) return;
      const { rtpTimestamp, receiveTime, processingDuration, presentationTime } = metadata;
      this.#frames += 1;
      const interval = percentile(this.#intervals, 0.25);
      if (interval) {
        legs.present({
          rtpTimestamp,
          received: receiveTime,
          decode: processingDuration === undefined ? undefined : processingDuration * 1000,
          submitted: presentationTime,
          shown: refreshAfter(presentationTime, refresh, interval),
        });
      }
      this.#watch(legs);
    });
  }

  /** @param {import("./peer.js").Peer} peer */
  #turn(peer) {
    const now = performance.now();
    // A hidden page shows no frame either.
    const measure = !document.hidden && (this.looked() || (now - this.#since) % CYCLE_MS < MEASURE_MS);
    if (measure && !this.#measuring) this.#begin(peer, now);
    if (this.#measuring && (!measure || now - this.#toldAt >= TELL_EVERY_MS)) this.#tell(peer, now);
    this.#measuring = measure;
    if (measure) this.#ask(peer);
    if (now - this.#countedAt < TELL_EVERY_MS) return;
    this.#countedAt = now;
    void this.#count(peer);
  }

  /** Tell how often the picture stood still, seen or not. @param {import("./peer.js").Peer} peer */
  async #count(peer) {
    const { freezes } = totalsOf(await peer.connection.getStats());
    if (freezes !== undefined) peer.tellStats(encodeFreezes(freezes));
  }

  /**
   * What was not watched broke the chain of frames: the legs begin anew, the clock goes on.
   * @param {import("./peer.js").Peer} peer
   * @param {number} now
   */
  #begin(peer, now) {
    this.#legs = new Legs(this.#clock, (sequence) => peer.input.pressedAt(sequence));
    this.#frames = 0;
    this.#toldAt = now;
    this.#measuring = true;
    this.#watch(this.#legs);
  }

  /** @param {import("./peer.js").Peer} peer */
  #ask(peer) {
    requestAnimationFrame((first) => {
      requestAnimationFrame((second) => {
        this.#intervals.push(second - first);
        if (this.#intervals.length > REFRESHES) this.#intervals.shift();
      });
    });
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
