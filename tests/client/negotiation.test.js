/** The negotiation log against the shared scripts, and its bounds; relay.test.js has the faults of the network. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_ITEMS, MAX_MESSAGE_BYTES, MAX_REPLACES, encode } from "../../client/messages.js";
import { LogFullError, Negotiation, newId } from "../../client/negotiation.js";
import { load } from "./vectors.js";
import "./webcrypto.js";

const PAGE = "P".repeat(22);
const HOST = "H".repeat(22);
const ID = "n".repeat(22);

for (const script of load("negotiation")) {
  if (script.machine !== "negotiation") continue; // the page never answers
  test(script.name, () => {
    const negotiation = new Negotiation(script.me, script.other, script.negotiation, script.replaces);
    for (const step of script.steps) {
      if (step.say) negotiation.say(step.say);
      else if (step.receive) assert.deepEqual(negotiation.receive(step.receive, step.now), step.items);
      else if (step.reconnected) negotiation.reconnected();
      else {
        assert.deepEqual(negotiation.poll(step.poll), step.sync);
        const deadline = negotiation.nextDeadline();
        if (step.deadline === null) assert.equal(deadline, null);
        else assert.ok(deadline !== null && Math.abs(deadline - step.deadline) < 1e-9);
        assert.equal(negotiation.settled, step.settled);
      }
    }
  });
}

test("ids are 128 random bits as base64url", () => {
  const ids = new Set(Array.from({ length: 100 }, newId));
  assert.equal(ids.size, 100);
  for (const id of ids) assert.match(id, /^[A-Za-z0-9_-]{22}$/);
});

test("a long list goes out in frames of bounded size", () => {
  const negotiation = new Negotiation(PAGE, HOST, ID);
  for (let i = 0; i < 10; i++) negotiation.say({ type: "offer", sdp: "v".repeat(40_000) });
  let sent = 0;
  for (let sync; (sync = negotiation.poll(0)); sent += sync.items.length) {
    assert.ok(encode(sync).length < MAX_MESSAGE_BYTES);
    assert.equal(sync.at, sent);
  }
  assert.equal(sent, 10);
});

test("a full list takes no more, from either side", () => {
  const negotiation = new Negotiation(PAGE, HOST, ID);
  /** @type {import("../../client/messages.js").Item[]} */
  const whole = Array.from({ length: MAX_ITEMS }, () => ({ type: "candidate", candidate: "" }));
  for (const item of whole) negotiation.say(item);
  assert.throws(() => negotiation.say(whole[0]), LogFullError);
  const sync = { type: /** @type {const} */ ("sync"), to: PAGE, from: HOST, negotiation: ID, has: 0 };
  assert.equal(negotiation.receive({ ...sync, at: 0, items: whole }, 0).length, MAX_ITEMS);
  assert.deepEqual(negotiation.receive({ ...sync, at: MAX_ITEMS, items: whole }, 0), []);
});

test("an item that no frame can carry is refused when it is said", () => {
  const negotiation = new Negotiation(PAGE, HOST, ID);
  negotiation.say({ type: "offer", sdp: "é".repeat(43_000) });
  assert.throws(() => negotiation.say({ type: "offer", sdp: "é".repeat(45_000) }), LogFullError);
});

test("what the other has not begun is named until it is heard of", () => {
  /** @type {string[]} */
  let before = [];
  let negotiation = new Negotiation(PAGE, HOST, ID);
  for (let number = 0; number < MAX_REPLACES + 2; number++) {
    negotiation = new Negotiation(PAGE, HOST, String(number).padStart(22, "0"), before);
    before = negotiation.leaves();
  }
  assert.equal(before.length, MAX_REPLACES);
  assert.equal(before.at(-1), negotiation.negotiation);
  const sync = { type: /** @type {const} */ ("sync"), to: PAGE, from: HOST, negotiation: ID, at: 0, items: [], has: 0 };
  negotiation.receive(sync, 0);
  assert.deepEqual(negotiation.leaves(), []);
});
