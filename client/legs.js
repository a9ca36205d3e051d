/**
 * From click to photon, leg by leg: joins what the host tells of its frames with what the browser tells of them, by RTP
 * timestamp, and with the inputs of this page, by sequence number. Values only; times in ms of the page's clock, those
 * of the host on its own. Nothing is a leg that one of the three did not tell.
 *
 * click_to_photon   from the input's event here to the first picture captured after its injection: the page's clock
 *                   alone, but what the application needs is in it only where that picture shows its answer
 * input, network    up to the host and down from it: by two clocks, each off by their error in opposite ways
 * inject            from the injection to that capture;  encode, send: on the host, each with its waiting
 * buffer            from the last packet to the compositor without decoding;  decode;  display: until the screen's refresh
 * capture_to_photon all of a picture's, by two clocks
 *
 * @typedef {import("./frames.js").HostFrame} HostFrame
 * @typedef {import("./frames.js").Leg | "encode" | "send"} Leg
 * @typedef {{rtpTimestamp?: number, received?: number, decode?: number, submitted: number, shown: number}} Presented
 *   one frame on this screen: `decode` took so long, `submitted` to the compositor, `shown` from the refresh after it on
 * @typedef {{count: number, median: number, p95: number}} Spread
 * @typedef {{[leg in Leg]?: Spread}} Spreads
 */

/** Frames that wait for the host's word, and its words that wait for their frame: a second of 240 and more. */
const MOST = 512;
/** The host tells twice a second. What it has not told by then was lost. */
const WAIT_MS = 1000;
/** Pictures and clicks that are remembered: ten seconds of 60 a second. */
const MOST_SAMPLES = 600;
/** An input after which nothing was captured for so long changed nothing that one could see. */
const ANSWER_MS = 500;

/** The value below which a share of some numbers lies; undefined for none. @param {number[]} values @param {number} share */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.at(Math.min(Math.floor(share * sorted.length), sorted.length - 1));
}

/**
 * The first refresh of the screen at or after a time.
 * Differs: not the callback's `expectedDisplayTime`, which for a stream without playout delay is one refresh earlier in a
 * third of the frames, even before their last packet had come.
 * @param {number} submitted
 * @param {number} refresh the time of any refresh
 * @param {number} interval between two
 */
export function refreshAfter(submitted, refresh, interval) {
  return refresh + Math.ceil((submitted - refresh) / interval) * interval;
}

export class Legs {
  /** @type {Presented[]} */
  #presented = [];
  /** By RTP timestamp, in the order of their coming. @type {Map<number, HostFrame>} */
  #told = new Map();
  /** The newest input before the picture that was shown last; null: not known. @type {number | null} */
  #input = null;
  /** @type {{shown: number, legs: {[leg in Leg]?: number}}[]} */
  #samples = [];

  /**
   * @param {import("./clock.js").HostClock} clock
   * @param {(sequence: number) => number | undefined} inputTime when an input that should show came about
   */
  constructor(clock, inputTime) {
    this.clock = clock;
    this.inputTime = inputTime;
  }

  /** @param {Presented} frame */
  present(frame) {
    this.#presented.push(frame);
    if (this.#presented.length <= MOST) return;
    this.#presented.shift();
    this.#input = null;
  }

  /** @param {HostFrame[]} frames @param {number} now */
  tell(frames, now) {
    for (const frame of frames) this.#told.set(frame.rtpTimestamp, frame);
    for (const key of this.#told.keys()) {
      if (this.#told.size <= MOST) break;
      this.#told.delete(key);
    }
    this.join(now);
  }

  /** Join what can be joined: call it before looking at the spreads. @param {number} now */
  join(now) {
    for (let frame; (frame = this.#presented[0]); this.#presented.shift()) {
      const host = frame.rtpTimestamp === undefined ? undefined : this.#told.get(frame.rtpTimestamp);
      if (!host && frame.rtpTimestamp !== undefined && now - frame.shown < WAIT_MS) return;
      if (host) this.#told.delete(host.rtpTimestamp);
      this.#samples.push({ shown: frame.shown, legs: { ...this.#here(frame), ...this.#both(frame, host, now) } });
      if (this.#samples.length > MOST_SAMPLES) this.#samples.shift();
    }
  }

  /** @param {Presented} frame @returns {{[leg in Leg]?: number}} */
  #here({ received, decode, submitted, shown }) {
    /** @type {{[leg in Leg]?: number}} */
    const legs = {};
    if (decode !== undefined) legs.decode = decode;
    if (decode !== undefined && received !== undefined) legs.buffer = submitted - received - decode;
    // Firefox tells the refresh for both: its wait is in `buffer`.
    if (shown !== submitted) legs.display = shown - submitted;
    return legs;
  }

  /** @param {Presented} frame @param {HostFrame | undefined} host @param {number} now @returns {{[leg in Leg]?: number}} */
  #both(frame, host, now) {
    if (!host) this.#input = null; // it may have been the first with a new input
    if (!host || host.grabbed <= host.captured) return {};
    const ahead = this.clock.offset(now)?.ahead;
    /** @type {{[leg in Leg]?: number}} */
    const legs = { encode: host.encoded - host.captured, send: host.lastSent - host.encoded };
    if (ahead !== undefined) {
      legs.capture_to_photon = frame.shown - (host.captured - ahead);
      if (frame.received !== undefined) legs.network = frame.received - (host.lastSent - ahead);
    }
    const clicked = this.#input !== null && host.input > this.#input ? this.inputTime(host.input) : undefined;
    this.#input = host.input;
    if (clicked === undefined || host.captured - host.injected > ANSWER_MS) return legs;
    legs.click_to_photon = frame.shown - clicked;
    legs.inject = host.captured - host.injected;
    if (ahead !== undefined) legs.input = host.injected - ahead - clicked;
    return legs;
  }

  /** Of the pictures that were shown since a time. @param {number} since @returns {Spreads} */
  spreads(since) {
    /** @type {Map<Leg, number[]>} */
    const values = new Map();
    for (const { shown, legs } of this.#samples) {
      if (shown < since) continue;
      for (const [leg, value] of /** @type {[Leg, number][]} */ (Object.entries(legs))) {
        values.set(leg, [...(values.get(leg) ?? []), value]);
      }
    }
    /** @type {Spreads} */
    const spreads = {};
    for (const [leg, all] of values) {
      const [median, p95] = [0.5, 0.95].map((share) => /** @type {number} */ (percentile(all, share)));
      spreads[leg] = { count: all.length, median, p95 };
    }
    return spreads;
  }
}
