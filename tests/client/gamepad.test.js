/** Gamepads: their bytes, what is said of them over a way that loses messages, and the page that polls them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { InputChannel } from "../../client/input/channel.js";
import { stateOf } from "../../client/input/gamepad.js";
import { NEUTRAL, decodePadsAck, decodeRumble, encodePads } from "../../client/input/pad_encode.js";
import { PadSender } from "../../client/input/pads.js";
import { cases, load, seeded } from "./vectors.js";

const vectors = load("pads");
const bytes = (/** @type {string} */ hex) => new Uint8Array(Buffer.from(hex, "hex")).buffer;
const hex = (/** @type {ArrayBuffer} */ buffer) => Buffer.from(buffer).toString("hex");
const pressed = (/** @type {number} */ buttons) => ({ ...NEUTRAL, buttons });

for (const { name, message, hex: expected } of vectors.valid) {
  const { type, ...values } = message;
  if (type === "pads") test(name, () => assert.equal(hex(encodePads(values)), expected));
  if (type === "pads-ack") test(name, () => assert.equal(decodePadsAck(bytes(expected)), values.next));
  if (type === "rumble") test(name, () => assert.deepEqual(decodeRumble(bytes(expected)), values));
}

test("what is no word of the host is none, whatever its bytes", () => {
  const random = seeded(11);
  for (let i = 0; i < cases(20_000); i++) {
    const message = Uint8Array.from({ length: Math.floor(random() * 14) }, () => Math.floor(random() * 8)).buffer;
    const [version, type] = new Uint8Array(message);
    const ack = decodePadsAck(message);
    const rumble = decodeRumble(message);
    assert.equal(ack !== null, message.byteLength === 6 && version === 1 && type === 5);
    if (rumble) assert.ok(message.byteLength === 11 && version === 1 && type === 6 && rumble.pad < 4);
  }
});

/** @param {ArrayBuffer} message As the host reads it. */
function read(message) {
  const view = new DataView(message);
  const count = view.getUint8(10);
  const entry = (/** @type {number} */ at) => ({
    pad: view.getUint8(at),
    buttons: view.getUint32(at + 1),
    leftX: view.getInt16(at + 7),
  });
  const pads = view.getUint8(11 + 15 * count);
  return {
    stamp: view.getUint32(2),
    first: view.getUint32(6),
    changes: Array.from({ length: count }, (_, i) => entry(11 + 15 * i)),
    newest: Array.from({ length: pads }, (_, i) => entry(12 + 15 * (count + i))),
  };
}

/** Everything that a sender says in a while. @param {PadSender} sender @param {number} from @param {number} to */
function said(sender, from, to) {
  const messages = [];
  for (let now = from; now <= to; now = Math.min(sender.nextDeadline(), to + 1)) {
    const message = sender.poll(now);
    if (message) messages.push({ at: Number((now - from).toFixed(3)), ...read(message) });
    else now += 1e-9;
  }
  return messages;
}

test("a button goes out at once, three times within 10 ms, and until the host has it", () => {
  const sender = new PadSender();
  sender.update(new Map([[0, NEUTRAL]]), 10);
  said(sender, 10, 10.05);
  sender.update(new Map([[0, pressed(1)]]), 10.06);
  const messages = said(sender, 10.06, 10.5);
  assert.deepEqual(messages.slice(0, 3).map(({ at }) => at), [0, 0.004, 0.008]);
  assert.ok(messages.every(({ changes }) => changes.length === 1 && changes[0].buttons === 1));
  sender.acknowledge(2);
  assert.equal(sender.outstanding, 0);
  const [state, ...more] = said(sender, 10.5, 10.75);
  assert.deepEqual(state.changes, []);
  assert.equal(state.newest[0].buttons, 1);
  assert.ok(more.length >= 1 && more.length <= 2); // ten times a second, as long as one is connected
});

test("sticks go out at most each 4 ms, and the last of it again", () => {
  const sender = new PadSender();
  sender.update(new Map([[0, NEUTRAL]]), 0);
  said(sender, 0, 0.09);
  let count = 0;
  for (let at = 0; at < 20; at++) {
    sender.update(new Map([[0, { ...NEUTRAL, leftX: at }]]), 0.1 + at / 1000);
    count += said(sender, 0.1 + at / 1000, 0.1 + at / 1000 + 0.0009).length;
  }
  assert.ok(count >= 4 && count <= 7, String(count));
  const after = said(sender, 0.12, 0.15);
  assert.ok(after.length >= 1);
  assert.equal(after.at(-1)?.newest[0].leftX, 19);
});

test("an unplugged gamepad is said to be gone, for a while", () => {
  const sender = new PadSender();
  sender.update(new Map([[0, pressed(1)]]), 0);
  said(sender, 0, 0.5);
  sender.update(new Map(), 0.5);
  const messages = said(sender, 0.5, 3);
  assert.ok(messages.length >= 6 && messages.length <= 10, String(messages.length));
  assert.ok(messages.every(({ newest }) => newest.length === 0));
  assert.equal(sender.nextDeadline(), Infinity);
});

test("of more than 32 changes that nobody acknowledges the oldest are given up", () => {
  const sender = new PadSender();
  for (let i = 1; i <= 50; i++) sender.update(new Map([[0, pressed(i % 2)]]), i / 1000);
  const [message] = said(sender, 1, 1);
  assert.equal(message.changes.length, 32);
  assert.equal(message.first, 50 - 32 + 1);
  sender.acknowledge(51);
  assert.equal(sender.outstanding, 0);
});

test("no press is lost and none is felt twice over a way that loses half and mixes up the rest", () => {
  const random = seeded(5);
  for (let run = 0; run < cases(60); run++) {
    const sender = new PadSender();
    /** What the host has felt; it follows docs/protocol.md 6.1. @type {number[]} */
    const felt = [];
    let stamp = 0;
    let next = 1;
    /** @type {{at: number, message: ArrayBuffer}[]} */
    const way = [];
    /** @type {number[]} */
    const wanted = [];
    let buttons = 0;
    for (let step = 0; step < 600; step++) {
      const now = step / 1000;
      if (step < 400 && random() < 0.02) {
        buttons ^= 1 << Math.floor(random() * 17);
        wanted.push(buttons);
        sender.update(new Map([[0, pressed(buttons)]]), now);
      }
      for (let message; (message = sender.poll(now)); ) {
        if (random() < 0.5) way.push({ at: now + random() * 0.03, message });
      }
      for (const { message } of way.filter(({ at }) => at <= now).sort((a, b) => a.at - b.at)) {
        const heard = read(message);
        if (heard.stamp <= stamp) continue;
        stamp = heard.stamp;
        for (const change of heard.changes.slice(Math.max(next - heard.first, 0))) felt.push(change.buttons);
        next = Math.max(next, heard.first + heard.changes.length);
        if (random() < 0.5) sender.acknowledge(next);
      }
      way.splice(0, way.length, ...way.filter(({ at }) => at > now));
    }
    assert.deepEqual(felt, wanted);
  }
});

for (const { name, said: updates, heard, takenAt, says, states } of vectors["taken-over"]) {
  test(`a second connection takes over: ${name}`, () => {
    const former = new PadSender();
    const told = [];
    for (const [at, state] of updates) {
      former.update(new Map([[0, state]]), at);
      for (let message; (message = former.poll(at)); ) told.push(hex(message));
    }
    assert.ok(told.includes(heard));
    const sender = new PadSender();
    sender.carry(former, takenAt);
    assert.equal(hex(sender.poll(takenAt) ?? new ArrayBuffer(0)), says);
    sender.update(new Map([[0, updates.at(-1)[1]]]), takenAt); // nothing changes with the next look at it
    assert.equal(sender.outstanding, read(bytes(says)).changes.length);
    assert.deepEqual(read(bytes(says)).changes.map(({ buttons }) => buttons).slice(-states.length), states.map((/** @type {any} */ { buttons }) => buttons));
  });
}

test("a gamepad that was unplugged between two connections is said to be gone on the second one", () => {
  const former = new PadSender();
  former.update(new Map([[0, pressed(1)]]), 0);
  said(former, 0, 0.2);
  const sender = new PadSender();
  sender.carry(former, 0.5);
  sender.update(new Map(), 0.51);
  const messages = said(sender, 0.51, 3);
  assert.ok(messages.length >= 5 && messages.length <= 10, String(messages.length));
  assert.ok(messages.every(({ newest }) => newest.length === 0));
  assert.equal(sender.nextDeadline(), Infinity);
});

test("where no gamepad ever was a second connection says nothing of any", () => {
  const sender = new PadSender();
  sender.carry(new PadSender(), 5);
  assert.equal(sender.nextDeadline(), Infinity);
});

test("over any number of connections no press of the last second is lost and none is felt twice", () => {
  const random = seeded(8);
  for (let run = 0; run < cases(60); run++) {
    let sender = new PadSender();
    let stamp = 0;
    let next = 1;
    let buttons = 0;
    /** @type {number[]} */
    const felt = [];
    /** @type {number[]} */
    const wanted = [];
    let silentUntil = 0;
    for (let step = 0; step < 4200; step++) {
      const now = step / 1000;
      if (step < 2500 && random() < 0.02) {
        buttons ^= 1 << Math.floor(random() * 17);
        wanted.push(buttons);
      }
      sender.update(new Map([[0, pressed(buttons)]]), now);
      if (step < 2500 && now > silentUntil + 0.8 && random() < 0.005) {
        silentUntil = now + random() * 0.9;
        const former = sender;
        sender = new PadSender();
        sender.carry(former, now);
      }
      for (let message; (message = sender.poll(now)); ) {
        if (random() < 0.5 || now < silentUntil) continue;
        const heard = read(message);
        assert.ok(heard.stamp > stamp);
        stamp = heard.stamp;
        for (const change of heard.changes.slice(Math.max(next - heard.first, 0))) felt.push(change.buttons);
        next = Math.max(next, heard.first + heard.changes.length);
        if (random() < 0.5) sender.acknowledge(next);
      }
    }
    assert.deepEqual(felt, wanted);
  }
});

test("a standard gamepad is read in whole numbers within their ranges", () => {
  const button = (/** @type {number} */ value) => ({ pressed: value > 0.1, touched: value > 0, value });
  const buttons = Array.from({ length: 18 }, (_, i) => button(i === 0 || i === 16 || i === 17 ? 1 : 0));
  buttons[6] = button(0.5);
  const state = stateOf({ buttons, axes: [-1, 1.5, 0.5, NaN] });
  assert.deepEqual(state, {
    buttons: 1 | (1 << 6) | (1 << 16),
    leftTrigger: 128,
    rightTrigger: 0,
    leftX: -32767,
    leftY: 32767,
    rightX: 16384,
    rightY: 0,
  });
  assert.deepEqual(stateOf({ buttons: [], axes: [] }), NEUTRAL);
});

test("the host's newest word about the motors is the one that counts", () => {
  const channel = /** @type {any} */ ({ readyState: "open", bufferedAmount: 0, sent: [], send() {} });
  const input = new InputChannel(channel);
  /** @type {any[]} */
  const felt = [];
  input.onRumble = (rumble) => felt.push(rumble.strong);
  const word = (/** @type {number} */ stamp, /** @type {number} */ strong) =>
    bytes(`0106${stamp.toString(16).padStart(8, "0")}00${strong.toString(16).padStart(4, "0")}0000`);
  for (const data of [word(1, 5), word(3, 0), word(2, 5)]) channel.onmessage({ data });
  assert.deepEqual(felt, [5, 0]);
  assert.equal(input.malformed, 0);
  channel.onmessage({ data: bytes("0107") });
  assert.equal(input.malformed, 1);
  input.close();
});
