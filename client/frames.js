/**
 * The bytes of the `stats` data channel but for SUMMARY (docs/protocol.md 6.3, 6.4): ArrayBuffer in, values out, and
 * the page's own words back. The host's side is agent/frames.py; tests/vectors/stats.json runs both. All times are in
 * ms, those of the host on its own clock.
 *
 * @typedef {{asked: number, heard: number, said: number}} Clock `asked` on the page's clock, the others on the host's
 * @typedef {{
 *   rtpTimestamp: number, captured: number, grabbed: number, converted: number, encoded: number,
 *   firstSent: number, lastSent: number, input: number, injected: number,
 * }} HostFrame `grabbed` is `captured` when the picture before was told again; `input` is the sequence number of the
 *   newest event injected before the capture, at `injected`, or 0
 * @typedef {{rtpTimestamp: number, received: number}} Arrival of a frame's last packet, on the page's clock
 * @typedef {{[leg in Leg]?: number}} Medians
 * @typedef {typeof LEGS[number]} Leg
 */

const VERSION = 1;
const CLOCK = 2;
const FRAMES = 3;
const ASK = 4;
const TELL = 5;
const WANT = 7;
const ARRIVALS = 8;
const FREEZES = 9;
const CLOCK_BYTES = 26;
const HEAD_BYTES = 11;
const FRAME_BYTES = 36;
const MAX_FRAMES = 32;
/** Of the arrivals in one message. */
export const MAX_ARRIVALS = 16;
const NOT_KNOWN = 0xffffffff;
const MOST_MS = (NOT_KNOWN - 1) / 1000;

/** What the page measures, in the order of the LEGS message. */
export const LEGS = /** @type {const} */ ([
  "click_to_photon",
  "input",
  "inject",
  "capture_to_photon",
  "network",
  "buffer",
  "decode",
  "display",
]);

/** @param {DataView} view @param {number} at */
const microseconds = (view, at) => Number(view.getBigUint64(at)) / 1000;

/** @param {ArrayBuffer} message @returns {Clock | null} null: it is none */
export function parseClock(message) {
  const view = new DataView(message);
  if (view.byteLength !== CLOCK_BYTES || view.getUint8(0) !== VERSION || view.getUint8(1) !== CLOCK) return null;
  return { asked: microseconds(view, 2), heard: microseconds(view, 10), said: microseconds(view, 18) };
}

/** @param {ArrayBuffer} message @returns {HostFrame[] | null} null: it is none */
export function parseFrames(message) {
  const view = new DataView(message);
  if (view.byteLength < HEAD_BYTES || view.getUint8(0) !== VERSION || view.getUint8(1) !== FRAMES) return null;
  const count = view.getUint8(10);
  if (count === 0 || count > MAX_FRAMES || view.byteLength !== HEAD_BYTES + count * FRAME_BYTES) return null;
  const base = microseconds(view, 2);
  return Array.from({ length: count }, (_, index) => {
    const start = HEAD_BYTES + index * FRAME_BYTES;
    const word = (/** @type {number} */ number) => view.getUint32(start + 4 * number);
    const captured = base + word(1) / 1000;
    const after = (/** @type {number} */ number) => captured + word(number) / 1000;
    return {
      rtpTimestamp: word(0),
      captured,
      grabbed: after(2),
      converted: after(3),
      encoded: after(4),
      firstSent: after(5),
      lastSent: after(6),
      input: word(7),
      injected: captured - word(8) / 1000,
    };
  });
}

/** @param {number} now of the page's clock */
export function encodeAsk(now) {
  const view = new DataView(new ArrayBuffer(10));
  view.setUint8(0, VERSION);
  view.setUint8(1, ASK);
  view.setBigUint64(2, BigInt(Math.round(now * 1000)));
  return view.buffer;
}

/** @param {Medians} medians */
export function encodeLegs(medians) {
  const view = new DataView(new ArrayBuffer(2 + 4 * LEGS.length));
  view.setUint8(0, VERSION);
  view.setUint8(1, TELL);
  LEGS.forEach((leg, index) => {
    const value = medians[leg];
    // The other end of the clocks' error: what should be nothing can come out below it.
    const told = value === undefined ? NOT_KNOWN : Math.round(Math.min(Math.max(value, 0), MOST_MS) * 1000);
    view.setUint32(2 + 4 * index, told);
  });
  return view.buffer;
}

/** @param {number} count since the connection began */
export function encodeFreezes(count) {
  const view = new DataView(new ArrayBuffer(6));
  view.setUint8(0, VERSION);
  view.setUint8(1, FREEZES);
  view.setUint32(2, Math.min(count, NOT_KNOWN));
  return view.buffer;
}

/** The host wants to be told of arrivals. @param {ArrayBuffer} message */
export function parseWant(message) {
  const view = new DataView(message);
  return view.byteLength === 2 && view.getUint8(0) === VERSION && view.getUint8(1) === WANT;
}

/** @param {Arrival[]} arrivals at least one, at most MAX_ARRIVALS */
export function encodeArrivals(arrivals) {
  const view = new DataView(new ArrayBuffer(HEAD_BYTES + 8 * arrivals.length));
  const base = Math.min(...arrivals.map(({ received }) => received));
  view.setUint8(0, VERSION);
  view.setUint8(1, ARRIVALS);
  view.setBigUint64(2, BigInt(Math.round(base * 1000)));
  view.setUint8(10, arrivals.length);
  arrivals.forEach(({ rtpTimestamp, received }, index) => {
    view.setUint32(HEAD_BYTES + 8 * index, rtpTimestamp);
    view.setUint32(HEAD_BYTES + 8 * index + 4, Math.round(Math.min(received - base, MOST_MS) * 1000));
  });
  return view.buffer;
}
