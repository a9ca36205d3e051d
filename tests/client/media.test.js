/** What the page asks of the media, and the numbers that it shows about them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../../client/backoff.js";
import { LEGS } from "../../client/frames.js";
import { SessionStore, fragmentOf, parseFragment } from "../../client/link.js";
import { codecPreferences, withRoundTrips, withStereo } from "../../client/sdp.js";
import { figures, parseDelivery, parseSummary, totalsOf } from "../../client/stats.js";
import { FIGURES } from "../../client/words.js";
import { cases, load, seeded } from "./vectors.js";

const bytes = (/** @type {string} */ hex) => new Uint8Array(Buffer.from(hex, "hex")).buffer;
const summaries = load("input").valid.filter((/** @type {any} */ { message }) => message.type === "summary");

const deliveries = load("stats").valid.filter((/** @type {any} */ { message }) => message.type === "delivery");

for (const { name, message, hex } of deliveries) {
  test(name, () => assert.deepEqual({ type: "delivery", ...parseDelivery(bytes(hex)) }, message));
}

test("what is no DELIVERY is told as none", () => {
  for (const { hex } of load("stats").invalid) assert.equal(parseDelivery(bytes(hex)), null);
  for (const { hex } of summaries) assert.equal(parseDelivery(bytes(hex)), null);
});

for (const { name, message, hex } of summaries) {
  test(name, () => {
    const summary = parseSummary(bytes(hex));
    assert.ok(summary);
    assert.deepEqual([summary.width, summary.height, summary.encoder], [message.width, message.height, message.encoder]);
    assert.equal(Math.round(summary.framesPerS * 10), message.frames_per_10s);
    for (const stage of /** @type {const} */ (["capture", "convert", "encode", "send"])) {
      assert.equal(Math.round(summary[`${stage}Ms`] * 100), message[`${stage}_us_10`]);
    }
    assert.deepEqual([summary.targetBps, summary.sentBps, summary.dropped], [message.target_bps, message.sent_bps, message.dropped]);
    assert.equal(Math.round(summary.loss * 1000), message.loss_permille);
    assert.equal(Math.round(summary.rttMs * 10), message.rtt_ms_10);
  });
}

test("a damaged SUMMARY is none or a whole one", () => {
  const random = seeded(5);
  for (let i = 0; i < cases(5000); i++) {
    const whole = new Uint8Array(bytes(summaries[i % summaries.length].hex));
    const damaged = random() < 0.5 ? whole.slice(0, Math.floor(random() * whole.length)) : whole;
    if (damaged.length > 0) damaged[Math.floor(random() * damaged.length)] = Math.floor(random() * 256);
    const summary = parseSummary(damaged.slice().buffer);
    assert.ok(summary === null || summary.encoder.length <= 32);
  }
  for (const message of ["", "01", "0101"]) assert.equal(parseSummary(bytes(message)), null);
});

test("H.264 comes before VP8 before VP9, repair last, and nothing else", () => {
  const codecs = [
    { mimeType: "video/VP8" },
    { mimeType: "video/rtx" },
    { mimeType: "video/VP9" },
    { mimeType: "video/H264", sdpFmtpLine: "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f" },
    { mimeType: "video/H264", sdpFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f" },
    { mimeType: "video/red" },
    { mimeType: "video/AV1" },
    { mimeType: "video/VP9", sdpFmtpLine: "profile-id=2" },
  ];
  assert.deepEqual(codecPreferences(codecs), [codecs[4], codecs[0], codecs[2], codecs[1]]);
  assert.deepEqual(codecPreferences([codecs[0], codecs[1]]), [codecs[0], codecs[1]]);
  assert.deepEqual(codecPreferences([codecs[6], codecs[7]]), []);
});

test("parity packets are offered: the page's choice of codecs left them out, so that no host ever sent any", () => {
  const codecs = ["video/VP8", "video/rtx", "video/red", "video/ulpfec", "video/flexfec-03"].map((mimeType) => ({ mimeType }));
  assert.deepEqual(codecPreferences(codecs), [codecs[0], codecs[1], codecs[4]]);
});

test("stereo is asked for once, for Opus only", () => {
  const sdp = [
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63",
    "a=rtpmap:111 opus/48000/2",
    "a=fmtp:111 minptime=10;useinbandfec=1",
    "a=rtpmap:63 red/48000/2",
    "a=fmtp:63 111/111",
    "",
  ].join("\r\n");
  const stereo = withStereo(sdp);
  assert.match(stereo, /a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n/);
  assert.match(stereo, /a=fmtp:63 111\/111\r\n/);
  assert.equal(withStereo(stereo), stereo);
  assert.equal(withStereo("v=0\r\n"), "v=0\r\n");
});

test("round trips are asked for once for each codec that can be asked for key frames", () => {
  const sdp = ["a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli", "a=rtpmap:97 rtx/90000", ""].join("\r\n");
  assert.equal(
    withRoundTrips(sdp),
    ["a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli", "a=rtcp-fb:96 rrtr", "a=rtpmap:97 rtx/90000", ""].join("\r\n"),
  );
  assert.equal(withRoundTrips("v=0\r\n"), "v=0\r\n");
});

test("a link names a room and perhaps a token; what is not valid is not there", () => {
  assert.deepEqual(parseFragment("#room=desk&token=abc"), { room: "desk", token: "abc" });
  assert.deepEqual(parseFragment("#room=desk"), { room: "desk", token: null });
  assert.deepEqual(parseFragment(""), { room: null, token: null });
  assert.deepEqual(parseFragment("#room=a/b&token="), { room: null, token: null });
  assert.equal(parseFragment(fragmentOf("a:b-c_d.e")).room, "a:b-c_d.e");
});

test("a session is kept for its room and for 12 hours", () => {
  let now = 0;
  const memory = new Map();
  const storage = /** @type {any} */ ({
    getItem: (/** @type {string} */ key) => memory.get(key) ?? null,
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => memory.set(key, value),
    removeItem: (/** @type {string} */ key) => memory.delete(key),
  });
  const store = new SessionStore(storage, () => now);
  store.save("desk", "s.s.s");
  assert.equal(store.load("desk"), "s.s.s");
  assert.equal(store.load("other"), null);
  now = 12 * 3600 * 1000;
  assert.equal(store.load("desk"), null);
  memory.set("tightbeam.session.desk", "{");
  assert.equal(store.load("desk"), null);
  assert.equal(new SessionStore(null).load("desk"), null);
});

test("back-off doubles to its limit, with a delay anywhere below it", () => {
  const most = new Backoff(() => 1);
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7].map(() => most.next()), [0.5, 1, 2, 4, 8, 15, 15]);
  most.reset();
  assert.equal(most.next(3), 3.5);
  assert.equal(new Backoff(() => 0).next(), 0);
});

test("the overlay shows differences over the last second, and every figure has a label", () => {
  const report = (/** @type {number} */ k) =>
    /** @type {[string, any][]} */ ([
      ["V", { type: "inbound-rtp", kind: "video", codecId: "C", bytesReceived: 1e6 * k, framesDecoded: 60 * k,
        packetsLost: 5 * k, packetsReceived: 995 * k, totalDecodeTime: 0.12 * k, jitterBufferDelay: 0.3 * k,
        jitterBufferEmittedCount: 60 * k, frameWidth: 1280, frameHeight: 720, framesDropped: 0,
        fecPacketsReceived: 240 * k }],
      ["C", { type: "codec", mimeType: "video/H264" }],
      ["T", { type: "transport", selectedCandidatePairId: "P" }],
      ["P", { type: "candidate-pair", currentRoundTripTime: 0.0125, remoteCandidateId: "R" }],
      ["R", { type: "remote-candidate", candidateType: "host" }],
    ]);
  const spread = { count: 3, median: 20.04, p95: 31 };
  const legs = Object.fromEntries([...LEGS, "encode", "send"].map((leg) => [leg, spread]));
  const seen = { frames: 60, legs, error: 0.512 };
  const host = { summary: parseSummary(bytes(summaries[0].hex)), delivery: parseDelivery(bytes(deliveries[0].hex)) };
  const shown = figures(totalsOf(report(1)), totalsOf(report(2)), 1, seen, host);
  assert.equal(shown.frames, "60.0 fps");
  assert.equal(shown["leg-click_to_photon"], "20.0 ms · 31.0 ms");
  assert.deepEqual([shown.clicks, shown.clock], ["3", "± 0.51 ms"]);
  assert.equal(shown.rate, "8.00 Mbit/s");
  assert.equal(shown.loss, "0.5 %");
  assert.equal(shown.decode, "2.00 ms");
  assert.equal(shown.wait, "5.00 ms");
  assert.equal(shown.rtt, "12.5 ms");
  assert.equal(shown.codec, "H264");
  assert.equal(shown.encode, "4.50 ms");
  assert.match(shown.picture, /^lower: /);
  assert.equal(shown.choice, "nvenc: no NVIDIA");
  assert.deepEqual([shown.parity, shown.again], ["500 · 480", "88 · 3 refused"]);
  const labels = new Set(FIGURES.flatMap(([, rows]) => rows.map(([key]) => key)));
  for (const key of Object.keys(shown)) assert.ok(labels.has(key), key);
  assert.deepEqual(figures(totalsOf([]), totalsOf([]), 1, null, { summary: null, delivery: null }), {});
});
