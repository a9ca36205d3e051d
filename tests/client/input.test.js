/** The input channel's bytes, keys, geometry and the rule of repetition, with a clock that is a variable. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeAck, encodeCarried, encodeEvents, encodeHeld } from "../../client/input/encode.js";
import { WheelCounter, contentBox, fractionOf } from "../../client/input/geometry.js";
import { chordOf } from "../../client/input/keyboard.js";
import { isModifier, usageOf } from "../../client/input/keys.js";
import { RelativeSum, movementOf } from "../../client/input/pointer.js";
import { InputSender, MAX_BACKLOG } from "../../client/input/sender.js";
import { cases, load, seeded } from "./vectors.js";

const vectors = load("input");
const bytes = (/** @type {string} */ hex) => new Uint8Array(Buffer.from(hex, "hex")).buffer;
const hex = (/** @type {ArrayBuffer | null} */ buffer) => Buffer.from(buffer ?? new ArrayBuffer(0)).toString("hex");

for (const { name, message, hex: expected } of vectors.valid) {
  if (message.type === "events") test(name, () => assert.equal(hex(encodeEvents(message)), expected));
  if (message.type === "carried") test(name, () => assert.equal(hex(encodeCarried(message)), expected));
  if (message.type === "held") test(name, () => assert.equal(hex(encodeHeld(message)), expected));
  if (message.type === "ack") test(name, () => assert.equal(decodeAck(bytes(expected)), message.next));
}

test("what is no ACK is told as none", () => {
  for (const { hex: message } of vectors.invalid) {
    if (!/^0103.{8}$/.test(message)) assert.equal(decodeAck(bytes(message)), null, message);
  }
  for (const { message, hex: other } of vectors.valid) {
    if (message.type !== "ack") assert.equal(decodeAck(bytes(other)), null);
  }
});

test("every key of the shared table has its usage", () => {
  const keys = load("keys");
  for (const [code, { usage }] of Object.entries(keys)) assert.equal(usageOf(code), usage, code);
  for (const code of ["", "Unidentified", "constructor", "toString"]) assert.equal(usageOf(code), undefined);
  const modifiers = Object.keys(keys).filter((code) => isModifier(keys[code].usage));
  assert.equal(modifiers.length, 8);
});

test("the page's chords need Control, Alt and Shift and nothing else", () => {
  const chord = { code: "KeyZ", key: "Z", ctrlKey: true, altKey: true, shiftKey: true, metaKey: false };
  assert.equal(chordOf(chord), "release");
  assert.equal(chordOf({ ...chord, code: "KeyF", key: "F" }), "fullscreen");
  assert.equal(chordOf({ ...chord, code: "KeyA", key: "A" }), undefined);
  assert.equal(chordOf({ ...chord, code: "constructor", key: "constructor" }), undefined);
  assert.equal(chordOf({ ...chord, shiftKey: false }), undefined);
  assert.equal(chordOf({ ...chord, metaKey: true }), undefined);
});

test("the page's chords are where their letters are printed, and where they would be if that is no letter", () => {
  const held = { ctrlKey: true, altKey: true, shiftKey: true, metaKey: false };
  const at = (/** @type {string} */ code, /** @type {string} */ key) => chordOf({ ...held, code, key });
  assert.equal(at("KeyY", "Z"), "release"); // German
  assert.equal(at("KeyZ", "Y"), undefined);
  assert.equal(at("KeyW", "Z"), "release"); // French
  assert.equal(at("KeyZ", "W"), undefined);
  assert.equal(at("Semicolon", "M"), "mouse");
  assert.equal(at("KeyM", "?"), "mouse"); // not printed M there, but no other letter either
  assert.equal(at("KeyZ", "Я"), "release"); // Russian has none of the letters
  assert.equal(at("KeyS", "Í"), "statistics"); // macOS, where Alt writes something else
  assert.equal(at("KeyZ", "Dead"), "release");
  assert.equal(at("KeyF", "AltGraph"), "fullscreen");
});

test("the picture is centred in its element and as large as fits", () => {
  const element = { x: 10, y: 20, width: 1000, height: 1000 };
  assert.deepEqual(contentBox(element, 1920, 1080), { x: 10, y: 20 + 437.5 / 2, width: 1000, height: 562.5 });
  assert.deepEqual(contentBox(element, 500, 1000), { x: 260, y: 20, width: 500, height: 1000 });
  assert.deepEqual(contentBox(element, 0, 0), element);
});

test("a pixel of the page finds the same pixel of the host at every page size and pixel ratio", () => {
  const random = seeded(3);
  for (let i = 0; i < cases(20_000); i++) {
    const ratio = [1, 1.25, 1.5, 2, 3][Math.floor(random() * 5)];
    const element = {
      x: Math.floor(random() * 50),
      y: Math.floor(random() * 50),
      width: 200 + Math.floor(random() * 3000),
      height: 200 + Math.floor(random() * 2000),
    };
    const width = 320 + Math.floor(random() * 3520);
    const height = 200 + Math.floor(random() * 1960);
    const box = contentBox(element, width, height);
    // A device pixel whose middle is inside the picture, and the host's pixel that is drawn there.
    const clientX = Math.floor((box.x + random() * box.width) * ratio) / ratio;
    const clientY = Math.floor((box.y + random() * box.height) * ratio) / ratio;
    const wantedX = ((clientX + 0.5 / ratio - box.x) / box.width) * width;
    const wantedY = ((clientY + 0.5 / ratio - box.y) / box.height) * height;
    const { x, y } = fractionOf(clientX, clientY, box, ratio);
    // Half a step of the fraction may cross the border between two pixels of the host.
    assert.ok(Math.abs((x / 65535) * width - Math.min(Math.max(wantedX, 0), width)) <= width / 131070 + 1e-6);
    assert.ok(Math.abs((y / 65535) * height - Math.min(Math.max(wantedY, 0), height)) <= height / 131070 + 1e-6);
  }
  for (const size of [640, 1280, 1920, 3840]) {
    const box = { x: 0, y: 0, width: size, height: size };
    for (let pixel = 0; pixel < size; pixel++) {
      const { x } = fractionOf(pixel, 0, box, 1);
      assert.equal(Math.min(Math.floor((x / 65535) * size), size - 1), pixel);
    }
  }
});

test("a text goes out in order between the keys, in pieces that fit, with no character cut", () => {
  const sender = new InputSender();
  sender.key(4, true, 0);
  sender.text("😀".repeat(20) + "é", 0);
  sender.text("", 0);
  sender.key(4, false, 0);
  assert.deepEqual(read(/** @type {ArrayBuffer} */ (sender.poll(0))).events, ["+4", "😀".repeat(16), "😀😀😀😀é", "-4"]);
});

test("points outside of the picture are moved to its edge", () => {
  const box = { x: 100, y: 100, width: 100, height: 100 };
  assert.deepEqual(fractionOf(0, 500, box, 1), { x: 0, y: 65535 });
  assert.deepEqual(fractionOf(5, 5, { ...box, width: 0, height: 0 }, 1), { x: 0, y: 0 });
});

test("wheel movements are counted in notches and what is left is carried", () => {
  const wheel = new WheelCounter();
  assert.deepEqual(wheel.turn({ deltaX: 0, deltaY: 100, deltaMode: 0 }), { dx: 0, dy: 120 });
  assert.deepEqual(wheel.turn({ deltaX: -3, deltaY: 6, deltaMode: 1 }), { dx: -120, dy: 240 });
  assert.deepEqual(wheel.turn({ deltaX: 0, deltaY: -1, deltaMode: 2 }), { dx: 0, dy: -120 });
  const notch = { deltaX: 0, deltaMode: 0, wheelDeltaX: 0 };
  assert.deepEqual(wheel.turn({ ...notch, deltaY: 120, wheelDeltaY: -120 }), { dx: 0, dy: 120 });
  assert.deepEqual(wheel.turn({ ...notch, deltaY: -53, wheelDeltaY: 120 }), { dx: 0, dy: -120 });
  assert.deepEqual(wheel.turn({ ...notch, deltaY: 40, wheelDeltaY: -120 }), { dx: 0, dy: 48 }); // a touchpad
  let sum = 0;
  for (let i = 0; i < 1000; i++) sum += wheel.turn({ deltaX: 0, deltaY: 0.1, deltaMode: 0 }).dy;
  assert.ok(Math.abs(sum - 120) <= 1);
});

test("movement is summed in sixteenths of a pixel and wraps in 32 bits", () => {
  const sum = new RelativeSum();
  sum.add(10.25, -1);
  assert.deepEqual(sum.motion, { mode: "relative", screen: 0, x: 164, y: -16 });
  sum.add(2 ** 27, 0);
  assert.equal(sum.motion.x, (2 ** 31 + 164) | 0);
});

test("every coalesced step of a movement counts", () => {
  const event = (/** @type {any[]} */ steps) =>
    /** @type {any} */ ({ movementX: 9, movementY: 9, getCoalescedEvents: () => steps });
  assert.deepEqual(movementOf(event([{ movementX: 1, movementY: 2 }, { movementX: 3, movementY: 4 }])), { x: 4, y: 6 });
  assert.deepEqual(movementOf(event([])), { x: 9, y: 9 });
});

/** Reads our own messages back, as the host does. @param {ArrayBuffer} buffer */
function read(buffer) {
  const view = new DataView(buffer);
  const stamp = view.getUint32(2);
  const motion = { mode: view.getUint8(6), x: view.getInt32(9), y: view.getInt32(13) };
  if (view.getUint8(1) === 2) {
    const usages = Array.from({ length: view.getUint8(22) }, (_, i) => view.getUint16(23 + 2 * i));
    return { type: "held", stamp, motion, last: view.getUint32(17), buttons: view.getUint8(21), usages, first: 0, events: [] };
  }
  const events = [];
  let at = 22;
  for (let i = 0; i < view.getUint8(21); i++) {
    const kind = view.getUint8(at);
    if (kind === 1) events.push(`${view.getUint8(at + 1) ? "+" : "-"}${view.getUint16(at + 2)}`);
    else if (kind === 2) events.push(`${view.getUint8(at + 1) ? "+" : "-"}b${view.getUint8(at + 2)}`);
    else if (kind === 3) events.push(`w${view.getInt16(at + 1)},${view.getInt16(at + 3)}`);
    else if (kind === 4) events.push("release");
    else events.push(new TextDecoder().decode(new Uint8Array(buffer, at + 2, view.getUint8(at + 1))));
    at += kind === 5 ? 2 + view.getUint8(at + 1) : [0, 4, 14, 5, 1][kind];
  }
  assert.equal(at, view.byteLength);
  return { type: "events", stamp, motion, first: view.getUint32(17), events, last: 0, buttons: 0, usages: [] };
}

/** @param {InputSender} sender @param {number} now */
function drain(sender, now) {
  const messages = [];
  for (let message; (message = sender.poll(now)); ) messages.push(read(message));
  return messages;
}

/** All messages until a time, each with when it went. @param {InputSender} sender @param {number} from @param {number} to */
function run(sender, from, to) {
  const sent = drain(sender, from).map((message) => ({ at: from, ...message }));
  for (let now; (now = sender.nextDeadline()) <= to; ) {
    sent.push(...drain(sender, now).map((message) => ({ at: now, ...message })));
  }
  return sent;
}

test("a new event is sent three times within 10 ms", () => {
  const sender = new InputSender();
  sender.key(4, true, 1);
  const sent = run(sender, 1, 1.01);
  assert.equal(sent.length, 3);
  assert.deepEqual(sent.map(({ stamp }) => stamp), [1, 2, 3]);
  for (const { first, events } of sent) assert.deepEqual([first, events], [1, ["+4"]]);
});

test("an acknowledged event is not sent again", () => {
  const sender = new InputSender();
  sender.key(4, true, 1);
  drain(sender, 1);
  sender.acknowledge(2, 1.001);
  assert.equal(run(sender, 1.001, 1.05).length, 0);
  assert.equal(sender.outstanding, 0);
});

test("every message carries all events that are not acknowledged", () => {
  const sender = new InputSender();
  sender.key(4, true, 1);
  sender.key(4, false, 1.02);
  sender.wheel(0, 120, 1.03);
  const [message] = drain(sender, 1.03);
  assert.deepEqual(message.events, ["+4", "-4", "w0,120"]);
  sender.acknowledge(3, 1.031);
  sender.move({ mode: "absolute", screen: 0, x: 5, y: 6 }, 1.04);
  const [next] = drain(sender, 1.04);
  assert.deepEqual([next.first, next.events, next.motion], [3, ["w0,120"], { mode: 1, x: 5, y: 6 }]);
});

test("false and old acknowledgements change nothing", () => {
  const sender = new InputSender();
  sender.key(4, true, 1);
  sender.key(5, true, 1);
  for (const next of [0, 1, 4, 4294967295]) sender.acknowledge(next, 1);
  assert.equal(sender.outstanding, 2);
  sender.acknowledge(2, 1);
  sender.acknowledge(1, 1);
  assert.equal(sender.outstanding, 1);
});

test("motion goes out at once, then newest first at 250 a second, and is said again when it ends", () => {
  const sender = new InputSender();
  const sent = [];
  for (let i = 0; i < 100; i++) {
    const now = 1 + i / 1000;
    sender.move({ mode: "absolute", screen: 0, x: i, y: 0 }, now);
    sent.push(...drain(sender, now));
  }
  assert.ok(sent.length >= 20 && sent.length <= 30, String(sent.length));
  assert.equal(sent[0].motion.x, 0);
  const after = run(sender, 1.1, 3);
  assert.ok(after.length >= 2 && after.length <= 3);
  for (const { motion } of after) assert.equal(motion.x, 99);
  assert.equal(sender.nextDeadline(), Infinity);
});

test("held keys and buttons are told each 100 ms, and once when nothing is held any more", () => {
  const sender = new InputSender();
  sender.key(4, true, 0);
  sender.button(2, true, { mode: "absolute", screen: 0, x: 1, y: 2 }, 0);
  drain(sender, 0);
  sender.acknowledge(3, 0.001);
  const held = run(sender, 0.002, 0.45).filter(({ type }) => type === "held");
  assert.deepEqual(held.map(({ at }) => Math.round(at * 10)), [1, 2, 3, 4]);
  for (const { last, buttons, usages } of held) assert.deepEqual([last, buttons, usages], [2, 4, [4]]);
  sender.releaseAll(0.46);
  const end = run(sender, 0.46, 5);
  const last = end.filter(({ type }) => type === "held");
  assert.deepEqual(last.map(({ buttons, usages, last: sequence }) => [buttons, usages, sequence]), [[0, [], 3]]);
  assert.deepEqual(end[0].events, ["release"]);
});

test("what is not held is not released, what is held is not pressed again", () => {
  const sender = new InputSender();
  sender.key(4, false, 0);
  sender.button(0, false, { mode: "none", screen: 0, x: 0, y: 0 }, 0);
  sender.releaseAll(0);
  assert.equal(sender.outstanding, 0);
  sender.key(4, true, 0);
  sender.key(4, true, 0);
  assert.equal(sender.outstanding, 1);
  for (let usage = 5; usage < 80; usage++) sender.key(usage, true, 0);
  assert.equal(sender.heldKeys.length, 32);
});

test("at most 64 events are on their way and the rest waits its turn", () => {
  const sender = new InputSender();
  for (let i = 0; i < 50; i++) {
    sender.key(4, true, 0);
    sender.key(4, false, 0);
  }
  assert.equal(drain(sender, 0)[0].events.length, 64);
  sender.acknowledge(65, 0.1);
  const [message] = drain(sender, 0.1).filter(({ type }) => type === "events");
  assert.deepEqual([message.first, message.events.length], [65, 36]);
});

test("when nobody listens everything is released instead of a backlog without end", () => {
  const sender = new InputSender();
  sender.key(9, true, 0);
  for (let i = 0; i < 1000; i++) {
    sender.key(4, true, 0);
    sender.key(4, false, 0);
  }
  assert.ok(sender.overflows > 0);
  assert.ok(sender.outstanding <= 64 + MAX_BACKLOG);
  assert.ok(!sender.holdsKey(9));
});

test("wheel events that wait are one", () => {
  const sender = new InputSender();
  for (let i = 0; i < 200; i++) sender.wheel(0, 1, 0);
  assert.equal(sender.outstanding, 65);
  drain(sender, 0);
  sender.acknowledge(65, 0);
  assert.deepEqual(drain(sender, 0)[0].events, ["w0,136"]);
});

test("over a network that loses and reorders every event is applied once and in order", () => {
  for (let seed = 0; seed < cases(60); seed++) {
    const random = seeded(seed);
    const sender = new InputSender();
    /** @type {{due: number, deliver: () => void}[]} */
    let wire = [];
    /** @type {string[]} */
    const said = [];
    /** @type {string[]} */
    const applied = [];
    let now = 0;
    const travel = (/** @type {() => void} */ deliver) => {
      if (random() < 0.6) wire.push({ due: now + 0.005 + random() * 0.06, deliver });
    };
    const pump = () => {
      for (const { type, first, events } of drain(sender, now)) {
        if (type !== "events" || events.length === 0) continue;
        travel(() => {
          assert.ok(first <= applied.length + 1, "a gap");
          applied.push(...events.slice(applied.length + 1 - first));
          const next = applied.length + 1;
          travel(() => sender.acknowledge(next, now));
        });
      }
    };
    for (let step = 0; step < 3000; step++) {
      now = step / 500;
      const arrived = wire.filter(({ due }) => due <= now);
      wire = wire.filter(({ due }) => due > now);
      for (const { deliver } of arrived) deliver();
      const usage = 4 + Math.floor(random() * 20);
      if (step < 1500 && random() < 0.05) {
        const down = !sender.holdsKey(usage);
        sender.key(usage, down, now);
        said.push(`${down ? "+" : "-"}${usage}`);
      }
      pump();
    }
    assert.deepEqual(applied, said);
    assert.equal(sender.outstanding, 0);
  }
});
