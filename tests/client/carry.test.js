/** What a second connection says of keys and buttons that the first one was not heard about, with a clock that is a variable. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LATE_S } from "../../client/input/carry.js";
import { NO_MOTION } from "../../client/input/encode.js";
import { InputSender } from "../../client/input/sender.js";
import { cases, seeded } from "./vectors.js";

const [A, B, SHIFT] = [4, 5, 0xe1];
const EVENTS = 1;
const CARRIED = 7;

/** @param {ArrayBuffer | null} message CARRIED or EVENTS of keys and buttons alone */
function read(message) {
  assert.ok(message);
  const view = new DataView(message);
  const type = view.getUint8(1);
  const shift = type === CARRIED ? 10 : 0;
  const carried = shift ? [view.getUint32(2), view.getUint32(6), view.getUint16(10)] : null;
  const events = [];
  for (let at = 22 + shift; at < view.byteLength; at += [0, 4, 14, 0, 1][view.getUint8(at)]) {
    const kind = view.getUint8(at);
    if (kind === 4) events.push("release");
    else events.push(`${view.getUint8(at + 1) ? "+" : "-"}${kind === 1 ? view.getUint16(at + 2) : `b${view.getUint8(at + 2)}`}`);
  }
  return { type, carried, first: view.getUint32(17 + shift), events };
}

/** @param {InputSender} former @param {number} now */
function successor(former, now) {
  const sender = new InputSender();
  sender.carry(former, now);
  return sender;
}

/** @param {InputSender} sender @param {number[]} usages each pressed and released @param {number} now */
function tap(sender, usages, now) {
  for (const usage of usages) {
    sender.key(usage, true, now);
    sender.key(usage, false, now);
  }
}

test("a tap between two connections is said again on the second one, in order", () => {
  const former = new InputSender();
  tap(former, [A, B], 10);
  former.poll(10);
  former.acknowledge(3, 10.01);
  const sender = successor(former, 10.5);
  const { type, carried, first, events } = read(sender.poll(10.5));
  assert.deepEqual([type, carried, first, events], [CARRIED, [3, 1, 2], 1, ["+5", "-5"]]);
  tap(sender, [A], 10.51);
  assert.deepEqual(read(sender.poll(10.51)).events, ["+5", "-5", "+4", "-4"]);
  sender.acknowledge(3, 10.52);
  tap(sender, [B], 10.53);
  assert.deepEqual(read(sender.poll(10.53)), { type: EVENTS, carried: null, first: 3, events: ["+4", "-4", "+5", "-5"] });
});

test("what was made more than a second ago is not made any more, but what it holds is held", () => {
  const former = new InputSender();
  former.button(0, true, NO_MOTION, 10);
  former.button(0, false, NO_MOTION, 10.1);
  former.key(B, true, 10.1);
  tap(former, [A], 10.2 + LATE_S);
  const sender = successor(former, 10.3 + LATE_S);
  assert.deepEqual(read(sender.poll(20)), { type: CARRIED, carried: [4, 2, 2], first: 1, events: ["+5", "+4", "-4"] });
  assert.deepEqual([sender.heldKeys, sender.heldButtons], [[B], []]);
});

test("nothing is carried where all was heard, but for what is held", () => {
  const former = new InputSender();
  former.key(SHIFT, true, 1);
  former.button(2, true, NO_MOTION, 1);
  tap(former, [A], 1);
  former.poll(1);
  former.acknowledge(5, 1.01);
  const sender = successor(former, 1.02);
  assert.deepEqual(read(sender.poll(1.02)), { type: EVENTS, carried: null, first: 1, events: ["+225", "+b2"] });
  assert.deepEqual(successor(new InputSender(), 5).poll(5), null);
});

test("a letter that was held and let go is not typed twice, and a chord keeps its modifier", () => {
  const former = new InputSender();
  former.key(SHIFT, true, 1);
  former.key(A, true, 1);
  former.poll(1);
  former.acknowledge(3, 1.01);
  former.key(A, false, 1.1);
  tap(former, [B], 1.2);
  former.key(SHIFT, false, 1.3);
  const sender = successor(former, 1.4);
  assert.deepEqual(read(sender.poll(1.4)).events, ["+225", "-4", "+5", "-5", "-225"]);
  assert.deepEqual(sender.heldKeys, []);
});

test("a host that knows nothing of it gets EVENTS after half a second", () => {
  const former = new InputSender();
  tap(former, [A], 1);
  const sender = successor(former, 1);
  assert.equal(read(sender.poll(1)).type, CARRIED);
  assert.equal(read(sender.poll(1.4)).type, CARRIED);
  assert.deepEqual(read(sender.poll(1.6)), { type: EVENTS, carried: null, first: 1, events: ["+4", "-4"] });
});

test("a click under the lock is carried without its way, which begins anew", () => {
  const former = new InputSender();
  former.button(0, true, { mode: "relative", screen: 0, x: 4000, y: 80 }, 1);
  const message = successor(former, 1).poll(1);
  assert.ok(message);
  assert.deepEqual([...new Uint8Array(message).slice(-11)], Array(11).fill(0));
});

test("whatever is done, both sides hold the same in the end and no more is carried than was said", () => {
  const random = seeded(9);
  for (let i = 0; i < cases(2000); i++) {
    let now = 1;
    let sender = new InputSender();
    for (let n = 0; n < 30; n++) {
      now += random() * 0.4;
      const code = Math.floor(random() * 3);
      const act = random();
      if (act < 0.5) sender.key([A, B, SHIFT][code], random() < 0.5, now);
      else if (act < 0.7) sender.button(code, random() < 0.5, NO_MOTION, now);
      else if (act < 0.75) sender.releaseAll(now);
      else if (act < 0.9) sender.acknowledge(Math.floor(random() * (sender.newest + 2)), now);
      sender.poll(now);
      if (act >= 0.9) {
        const former = sender;
        sender = successor(former, now);
        assert.deepEqual(new Set(sender.heldKeys), new Set(former.heldKeys));
        /** @type {Set<string>} */
        const held = new Set();
        const message = sender.outstanding > 0 ? read(sender.poll(now)) : { events: [], carried: null };
        for (const event of message.events) {
          if (event === "release") held.clear();
          else if (event[0] === "+") held.add(event.slice(1));
          else held.delete(event.slice(1));
        }
        const wanted = [...former.heldKeys.map(String), ...former.heldButtons.map((button) => `b${button}`)];
        assert.deepEqual([...held].sort(), wanted.sort());
        assert.ok(message.events.length <= former.outstanding + wanted.length + 6);
      }
    }
  }
});
