/**
 * The numbers of the overlay: the host's SUMMARY and DELIVERY (docs/protocol.md 6.3), the browser's getStats, and the legs of
 * presented frames, once a second. Values only; view.js shows them.
 *
 * @typedef {{
 *   width: number, height: number, framesPerS: number,
 *   captureMs: number, convertMs: number, encodeMs: number, sendMs: number,
 *   targetBps: number, sentBps: number, loss: number, rttMs: number, dropped: number, encoder: string,
 * }} Summary median times of the host's stages; `loss` 0..1
 * @typedef {{
 *   width?: number, height?: number, codec?: string, decoder?: string,
 *   bytes?: number, frames?: number, lost?: number, received?: number, dropped?: number,
 *   decodeS?: number, waitS?: number, emitted?: number, rttMs?: number, path?: string,
 *   parity?: number, again?: number, freezes?: number,
 * }} Totals what getStats counts since the connection began
 * @typedef {{
 *   lower: boolean, packets: number, parity: number, repeated: number, refused: number, reason: string,
 * }} Delivery packets since the session began; `reason`: why no better encoder
 * @typedef {{frames: number, legs: import("./legs.js").Spreads, error?: number}} Seen of the frames presented lately;
 *   `error`: of the host's clock against this one, in ms
 * @typedef {{[key: string]: string}} Figures texts with their units, by key of words.js; what is unknown is missing
 */

/** Everything before the encoder's name, but not its length. */
const SUMMARY_BYTES = 32;
const MAX_ENCODER_BYTES = 32;
/** Of a DELIVERY, everything before its words. */
const DELIVERY_BYTES = 21;

/**
 * One SUMMARY, or null when the message is none.
 * @param {ArrayBuffer} message
 * @returns {Summary | null}
 */
export function parseSummary(message) {
  const view = new DataView(message);
  if (view.byteLength < SUMMARY_BYTES + 1 || view.getUint8(0) !== 1 || view.getUint8(1) !== 1) return null;
  const length = view.getUint8(SUMMARY_BYTES);
  if (length > MAX_ENCODER_BYTES || view.byteLength !== SUMMARY_BYTES + 1 + length) return null;
  return {
    width: view.getUint16(2),
    height: view.getUint16(4),
    framesPerS: view.getUint16(6) / 10,
    captureMs: view.getUint16(8) / 100,
    convertMs: view.getUint16(10) / 100,
    encodeMs: view.getUint16(12) / 100,
    sendMs: view.getUint16(14) / 100,
    targetBps: view.getUint32(16),
    sentBps: view.getUint32(20),
    loss: view.getUint16(24) / 1000,
    rttMs: view.getUint16(26) / 10,
    dropped: view.getUint32(28),
    encoder: new TextDecoder().decode(new Uint8Array(message, SUMMARY_BYTES + 1)),
  };
}

/** @param {ArrayBuffer} message @returns {Delivery | null} null: it is none */
export function parseDelivery(message) {
  const view = new DataView(message);
  if (view.byteLength < DELIVERY_BYTES || view.getUint8(0) !== 1 || view.getUint8(1) !== 6) return null;
  if (view.byteLength !== DELIVERY_BYTES + view.getUint16(19)) return null;
  return {
    lower: view.getUint8(2) === 1,
    packets: view.getUint32(3),
    parity: view.getUint32(7),
    repeated: view.getUint32(11),
    refused: view.getUint32(15),
    reason: new TextDecoder().decode(new Uint8Array(message, DELIVERY_BYTES)),
  };
}

/**
 * What getStats counts of the picture and its way, picked from a report.
 * @param {Iterable<[string, any]>} report an RTCStatsReport
 * @returns {Totals}
 */
export function totalsOf(report) {
  const entries = new Map(report);
  const all = [...entries.values()];
  const video = all.find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
  const transport = all.find(({ type }) => type === "transport");
  const pair =
    entries.get(transport?.selectedCandidatePairId) ??
    all.find(({ type, nominated, state }) => type === "candidate-pair" && nominated && state === "succeeded");
  const remote = entries.get(pair?.remoteCandidateId);
  return {
    width: video?.frameWidth,
    height: video?.frameHeight,
    codec: entries.get(video?.codecId)?.mimeType?.replace(/^video\//, ""),
    decoder: video?.decoderImplementation,
    bytes: video?.bytesReceived,
    frames: video?.framesDecoded,
    lost: video?.packetsLost,
    received: video?.packetsReceived,
    dropped: video?.framesDropped,
    parity: video?.fecPacketsReceived,
    again: video?.retransmittedPacketsReceived,
    freezes: video?.freezeCount,
    decodeS: video?.totalDecodeTime,
    waitS: video?.jitterBufferDelay,
    emitted: video?.jitterBufferEmittedCount,
    rttMs: pair?.currentRoundTripTime === undefined ? undefined : pair.currentRoundTripTime * 1000,
    path: remote?.candidateType,
  };
}

/** @param {number | undefined} a @param {number | undefined} b */
const minus = (a, b) => (a === undefined ? undefined : a - (b ?? 0));
/** @param {number | undefined} a @param {number | undefined} b */
const over = (a, b) => (a === undefined || !b ? undefined : a / b);
/** @param {number | undefined} value @param {(value: number) => string} text */
const known = (value, text) => (value === undefined || Number.isNaN(value) ? undefined : text(value));
const ms = (/** @type {number} */ value) => `${value.toFixed(value < 10 ? 2 : 1)} ms`;
const rate = (/** @type {number} */ bps) =>
  bps >= 1e6 ? `${(bps / 1e6).toFixed(2)} Mbit/s` : `${Math.round(bps / 1e3)} kbit/s`;
const percent = (/** @type {number} */ share) => `${(share * 100).toFixed(1)} %`;
/** @param {number} sent @param {number | undefined} received */
const counts = (sent, received) => (received === undefined ? String(sent) : `${sent} · ${received}`);
const times = (/** @type {string | number} */ width, /** @type {string | number} */ height) => `${width} × ${height}`;

/**
 * The overlay's figures over the time between two looks.
 * @param {Totals} before
 * @param {Totals} now
 * @param {number} seconds between them
 * @param {Seen | null} seen null: the browser does not tell of frames
 * @param {{summary: Summary | null, delivery: Delivery | null}} host what it said lately
 * @returns {Figures}
 */
export function figures(before, now, seconds, seen, { summary, delivery }) {
  const decoded = minus(now.frames, before.frames);
  const lost = minus(now.lost, before.lost);
  const sent = lost === undefined ? undefined : lost + (minus(now.received, before.received) ?? 0);
  const decode = over(minus(now.decodeS, before.decodeS), decoded);
  const waited = over(minus(now.waitS, before.waitS), minus(now.emitted, before.emitted));
  /** @type {{[key: string]: string | undefined}} */
  const rows = {
    frames: known(over(seen ? seen.frames : decoded, seconds), (fps) => `${fps.toFixed(1)} fps`),
    size: known(now.width, (width) => times(width, now.height ?? "?")),
    codec: now.codec && [now.codec, now.decoder].filter(Boolean).join(", "),
    rate: known(over(minus(now.bytes, before.bytes), seconds), (bytes) => rate(bytes * 8)),
    loss: known(over(lost, sent), (share) => percent(Math.max(share, 0))),
    skipped: known(now.dropped, String),
    path: now.path,
    rtt: known(now.rttMs, ms),
    wait: known(waited, (s) => ms(s * 1000)),
    decode: known(decode, (s) => ms(s * 1000)),
    clock: known(seen?.error, (error) => `± ${ms(error)}`),
  };
  for (const [leg, spread] of Object.entries(seen?.legs ?? {})) {
    rows[`leg-${leg}`] = `${ms(spread.median)} · ${ms(spread.p95)}`;
    if (leg === "click_to_photon") rows.clicks = String(spread.count);
  }
  if (summary) {
    rows.hostSize = `${times(summary.width, summary.height)} · ${summary.framesPerS.toFixed(1)} fps`;
    rows.encoder = summary.encoder || undefined;
    rows.capture = ms(summary.captureMs);
    rows.convert = ms(summary.convertMs);
    rows.encode = ms(summary.encodeMs);
    rows.send = ms(summary.sendMs);
    rows.target = `${rate(summary.sentBps)} of ${rate(summary.targetBps)}`;
    rows.hostLoss = percent(summary.loss);
    rows.hostRtt = ms(summary.rttMs);
    rows.replaced = String(summary.dropped);
  }
  if (delivery) {
    rows.picture = delivery.lower ? "lower: this path carries less than the player's" : "main";
    rows.choice = delivery.reason || undefined;
    rows.parity = counts(delivery.parity, now.parity);
    rows.again = counts(delivery.repeated, now.again) + (delivery.refused ? ` · ${delivery.refused} refused` : "");
  }
  /** @type {Figures} */
  const shown = {};
  for (const [key, text] of Object.entries(rows)) if (text) shown[key] = text;
  return shown;
}
