/** From click to photon: the bytes, the two clocks, and the joining of frames, with times that are variables. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { HostClock } from "../../client/clock.js";
import { LEGS, encodeArrivals, encodeAsk, encodeFreezes, encodeLegs, parseClock, parseFrames, parseWant } from "../../client/frames.js";
import { InputChannel } from "../../client/input/channel.js";
import { Legs, percentile, refreshAfter } from "../../client/legs.js";
import { cases, load, seeded } from "./vectors.js";

const vectors = load("stats");
const bytes = (/** @type {string} */ hex) => new Uint8Array(Buffer.from(hex, "hex")).buffer;
const hex = (/** @type {ArrayBuffer} */ buffer) => Buffer.from(buffer).toString("hex");
const us = (/** @type {number} */ ms) => Math.round(ms * 1000);

for (const { name, message, hex: expected } of vectors.valid) {
  test(name, () => {
    if (message.type === "ask") assert.equal(hex(encodeAsk(message.asked / 1000)), expected);
    if (message.type === "legs") {
      const medians = Object.entries(message.legs).map(([leg, value]) => [leg, value / 1000]);
      assert.equal(hex(encodeLegs(Object.fromEntries(medians))), expected);
      for (const leg of Object.keys(message.legs)) assert.ok(LEGS.includes(/** @type {any} */ (leg)));
    }
    if (message.type === "arrivals") {
      const arrivals = message.frames.map((/** @type {any} */ { rtp_timestamp, received }) => ({
        rtpTimestamp: rtp_timestamp,
        received: received / 1000,
      }));
      assert.equal(hex(encodeArrivals(arrivals)), expected);
    }
    if (message.type === "freezes") assert.equal(hex(encodeFreezes(message.freezes)), expected);
    assert.equal(parseWant(bytes(expected)), message.type === "want");
    if (message.type === "clock") {
      const clock = parseClock(bytes(expected));
      assert.ok(clock);
      assert.deepEqual([us(clock.asked), us(clock.heard), us(clock.said)], [message.asked, message.heard, message.said]);
    }
    if (message.type === "frames") {
      const frames = parseFrames(bytes(expected));
      assert.equal(frames?.length, message.frames.length);
      frames?.forEach((frame, index) => {
        const { rtp_timestamp, first_sent, last_sent, input, ...times } = message.frames[index];
        assert.deepEqual([frame.rtpTimestamp, frame.input], [rtp_timestamp, input]);
        assert.deepEqual([us(frame.firstSent), us(frame.lastSent)], [first_sent, last_sent]);
        for (const [key, time] of Object.entries(times)) assert.equal(us(/** @type {any} */ (frame)[key]), time, key);
      });
    }
  });
}

test("what is no CLOCK and no FRAMES is told as none", () => {
  for (const { hex: message, from, name } of vectors.invalid) {
    if (from !== "host") continue;
    assert.equal(parseClock(bytes(message)), null, name);
    assert.equal(parseFrames(bytes(message)), null, name);
    assert.equal(parseWant(bytes(message)), false, name);
  }
  const random = seeded(7);
  const frames = vectors.valid.filter((/** @type {any} */ { message }) => message.type === "frames");
  for (let i = 0; i < cases(3000); i++) {
    const damaged = new Uint8Array(bytes(frames[i % frames.length].hex));
    damaged[Math.floor(random() * damaged.length)] = Math.floor(random() * 256);
    const size = random() < 0.5 ? damaged.length : Math.floor(random() * damaged.length);
    const parsed = parseFrames(damaged.slice(0, size).buffer);
    assert.ok(parsed === null || (parsed.length > 0 && parsed.length <= 32));
  }
});

test("medians that are below nothing are told as nothing", () => {
  assert.equal(hex(encodeLegs({ network: -0.4 })), hex(encodeLegs({ network: 0 })));
});

/** An exchange with a host whose clock is `ahead`. */
const exchange = (/** @type {{asked: number, up: number, down: number, ahead: number}} */ { asked, up, down, ahead }) =>
  /** @type {const} */ ([{ asked, heard: asked + up + ahead, said: asked + up + ahead + 0.1 }, asked + up + 0.1 + down]);

test("the host's clock is in the middle of what all exchanges leave, and never further off than told", () => {
  const clock = new HostClock();
  assert.equal(clock.offset(0), null);
  clock.add(...exchange({ asked: 0, up: 2, down: 2, ahead: 5000 }));
  assert.deepEqual(clock.offset(4.1), { ahead: 5000, error: 2 });
  // One is fast up, the other down: together they are better than either.
  clock.add(...exchange({ asked: 500, up: 0.5, down: 30, ahead: 5000 }));
  clock.add(...exchange({ asked: 1000, up: 30, down: 0.5, ahead: 5000 }));
  const found = clock.offset(1030.6);
  assert.ok(found && Math.abs(found.ahead - 5000) < 0.1 && found.error > 0.4 && found.error < 0.7);
  const random = seeded(11);
  for (let asked = 2000, ahead = -1e6; asked < 600_000; asked += 500, ahead += 500 * 50e-6) {
    clock.add(...exchange({ asked, up: 1 + 20 * random() ** 3, down: 3 + 9 * random(), ahead }));
    const { ahead: told, error } = /** @type {any} */ (clock.offset(asked + 40));
    assert.ok(Math.abs(told - ahead) <= error + 1e-3, `${told} ± ${error} is not ${ahead}`);
  }
});

test("a clock that jumped is believed at once, and an answer to nobody is not", () => {
  const clock = new HostClock();
  for (const asked of [0, 500]) clock.add(...exchange({ asked, up: 1, down: 1, ahead: 100 }));
  clock.add(...exchange({ asked: 1000, up: 1, down: 1, ahead: 9100 }));
  assert.equal(Math.round(clock.offset(1002.1)?.ahead ?? 0), 9100);
  clock.add({ asked: 2000, heard: 0, said: 500 }, 2002);
  clock.add({ asked: 2000, heard: 500, said: 0 }, 2002);
  clock.add({ asked: 2000, heard: 0, said: 1 }, 1999);
  assert.equal(Math.round(clock.offset(1002.1)?.ahead ?? 0), 9100);
});

test("a picture shows at the refresh after its submission", () => {
  assert.equal(refreshAfter(105, 100, 10), 110);
  assert.equal(refreshAfter(100, 100, 10), 100);
  assert.equal(refreshAfter(95, 100, 10), 100);
  assert.equal(refreshAfter(83, 100, 10), 90);
});

test("percentiles", () => {
  assert.equal(percentile([], 0.5), undefined);
  assert.equal(percentile([3, 1, 2], 0.5), 2);
  assert.equal(percentile([3, 1, 2], 0.95), 3);
});

const AHEAD = 70_000;
const NOTHING = { rtpTimestamp: 0, captured: 0, grabbed: 0, converted: 0, encoded: 0, firstSent: 0, lastSent: 0, input: 0, injected: 0 };

/** A frame that is captured at `at` of the page's clock, as the host tells it. */
const told = (/** @type {number} */ rtpTimestamp, /** @type {number} */ at, more = {}) => ({
  ...NOTHING, rtpTimestamp, captured: AHEAD + at, grabbed: AHEAD + at + 1, converted: AHEAD + at + 2, encoded: AHEAD + at + 6,
  firstSent: AHEAD + at + 6.5, lastSent: AHEAD + at + 8, injected: AHEAD + at, ...more,
});
/** The same frame on this screen. */
const shown = (/** @type {number | undefined} */ rtpTimestamp, /** @type {number} */ at) => ({
  rtpTimestamp, received: at + 11, decode: 2, submitted: at + 14, shown: at + 18,
});

function begin(presses = /** @type {[number, number][]} */ ([]), clocked = true) {
  const clock = new HostClock();
  if (clocked) clock.add(...exchange({ asked: 0, up: 0, down: 0, ahead: AHEAD }));
  const pressed = new Map(presses);
  return new Legs(clock, (sequence) => pressed.get(sequence));
}
const medians = (/** @type {Legs} */ legs) =>
  Object.fromEntries(Object.entries(legs.spreads(0)).map(([leg, { median }]) => [leg, Math.round(median * 10) / 10]));

test("the legs of a click add up to it", () => {
  const legs = begin([[7, 90]]);
  for (const frame of [shown(1, 50), shown(2, 100)]) legs.present(frame);
  legs.tell([told(1, 50, { input: 6 }), told(2, 100, { input: 7, injected: AHEAD + 96 })], 120);
  const { click_to_photon, capture_to_photon, ...rest } = medians(legs);
  assert.deepEqual(rest, { input: 6, inject: 4, encode: 6, send: 2, network: 3, buffer: 1, decode: 2, display: 4 });
  assert.equal(click_to_photon, 28);
  assert.equal(capture_to_photon, 18);
  assert.equal(Object.values(rest).reduce((sum, leg) => sum + leg, 0), click_to_photon);
});

test("a click counts for the first picture with it only, and one that changed nothing for none", () => {
  const legs = begin([[7, 90], [8, 300]]);
  for (const [rtp, at] of [[1, 50], [2, 100], [3, 116], [4, 900]]) legs.present(shown(rtp, at));
  const after = { input: 7, injected: AHEAD + 96 };
  legs.tell([told(1, 50), told(2, 100, after), told(3, 116, after), told(4, 900, { input: 8, injected: AHEAD + 306 })], 950);
  assert.equal(legs.spreads(0).click_to_photon?.count, 1);
  assert.equal(legs.spreads(0).capture_to_photon?.count, 4);
});

test("a release is no click", () => {
  const legs = begin([[7, 90]]);
  for (const [rtp, at] of [[1, 50], [2, 100]]) legs.present(shown(rtp, at));
  legs.tell([told(1, 50), told(2, 100, { input: 8, injected: AHEAD + 99 })], 120);
  assert.equal(legs.spreads(0).click_to_photon, undefined);
});

test("the picture after one that the host told nothing of counts for no click", () => {
  const legs = begin([[7, 90], [8, 200]]);
  for (const [rtp, at] of [[1, 50], [2, 100], [3, 116], [4, 210]]) legs.present(shown(rtp, at));
  const after = { input: 7, injected: AHEAD + 96 };
  legs.tell([told(1, 50), told(3, 116, after), told(4, 210, { input: 8, injected: AHEAD + 205 })], 230);
  assert.equal(medians(legs).capture_to_photon, 18);
  assert.equal(legs.spreads(0).capture_to_photon?.count, 1, "the others wait for the one that may yet come");
  legs.join(1200);
  assert.equal(legs.spreads(0).capture_to_photon?.count, 3);
  assert.equal(legs.spreads(0).decode?.count, 4, "the page's own legs need nobody");
  assert.equal(medians(legs).click_to_photon, 28);
  assert.equal(legs.spreads(0).click_to_photon?.count, 1, "of the second click only");
});

test("a picture that is told again says nothing of a capture", () => {
  const legs = begin([[7, 90]]);
  for (const [rtp, at] of [[1, 50], [2, 100], [3, 120]]) legs.present(shown(rtp, at));
  const after = { input: 7, injected: AHEAD + 96 };
  legs.tell([told(1, 50), told(2, 100, { ...after, grabbed: AHEAD + 100 }), told(3, 120, after)], 140);
  assert.equal(legs.spreads(0).capture_to_photon?.count, 2);
  assert.equal(legs.spreads(0).click_to_photon?.median, 48);
});

test("words that come before their frame, out of order and across the timestamp's wrap are joined", () => {
  const legs = begin();
  const stamps = [4294965796, 4294967295, 1499, 2999];
  legs.tell([told(stamps[2], 30), told(stamps[3], 45)], 50);
  legs.tell([told(stamps[0], 0), told(stamps[1], 15)], 60);
  stamps.forEach((rtp, index) => legs.present(shown(rtp, 15 * index)));
  legs.join(80);
  assert.equal(legs.spreads(0).capture_to_photon?.count, 4);
  assert.equal(legs.spreads(0).capture_to_photon?.p95, 18);
});

test("no leg is there that nobody told", () => {
  const clockless = begin([[7, 90]], false);
  clockless.present(shown(1, 50));
  clockless.present(shown(2, 100));
  clockless.tell([told(1, 50), told(2, 100, { input: 7, injected: AHEAD + 96 })], 120);
  const known = ["buffer", "click_to_photon", "decode", "display", "encode", "inject", "send"];
  assert.deepEqual(Object.keys(medians(clockless)).sort(), known);
  const poor = begin();
  poor.present({ submitted: 10, shown: 10 });
  poor.present({ submitted: 10, shown: 12, received: 5 });
  poor.join(20);
  assert.deepEqual(medians(poor), { display: 2 });
});

test("a host that tells nothing costs bounded memory and no page's legs", () => {
  const legs = begin();
  for (let rtp = 0; rtp < 5000; rtp++) legs.present(shown(rtp, rtp));
  legs.join(10_000);
  assert.equal(legs.spreads(0).decode?.count, 512);
  for (let rtp = 0; rtp < 5000; rtp++) legs.tell([told(rtp, rtp)], 10_000);
  for (let rtp = 0; rtp < 5000; rtp++) legs.present(shown(rtp, rtp));
  legs.join(20_000);
  assert.ok((legs.spreads(0).capture_to_photon?.count ?? 0) <= 512);
});

test("the channel knows when its newest presses came about", () => {
  const channel = /** @type {any} */ ({ readyState: "connecting", bufferedAmount: 0 });
  const input = new InputChannel(channel);
  input.key(4, true, 1000);
  input.key(4, true, 1001); // held already: no event
  input.key(4, false, 1050);
  input.button(0, true, { mode: "absolute", screen: 0, x: 0, y: 0 }, 1100);
  input.wheel(0, 120, 1200);
  assert.deepEqual([1, 2, 3, 4, 5].map((sequence) => input.pressedAt(sequence)), [1000, undefined, 1100, 1200, undefined]);
  for (let turn = 0; turn < 60; turn++) input.wheel(0, 120, 2000 + turn);
  assert.equal(input.pressedAt(64), 2059);
});
