/** The negotiation log against the shared scripts and over a relay that loses, doubles and reorders. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_ITEMS, MAX_MESSAGE_BYTES, encode } from "../../client/messages.js";
import { LogFullError, Negotiation, newId } from "../../client/negotiation.js";
import { cases, load, seeded } from "./vectors.js";
import "./webcrypto.js";

const PAGE = "P".repeat(22);
const HOST = "H".repeat(22);
const ID = "n".repeat(22);

for (const script of load("negotiation")) {
  if (script.machine !== "negotiation") continue; // the page never answers
  test(script.name, () => {
    const negotiation = new Negotiation(script.me, script.other, script.negotiation);
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

test("both logs arrive whole over a relay that loses, doubles and reorders", () => {
  for (let seed = 0; seed < cases(200); seed++) {
    const random = seeded(seed);
    const sides = [new Negotiation(PAGE, HOST, ID), new Negotiation(HOST, PAGE, ID)];
    /** @type {string[][]} */
    const said = [[], []];
    /** @type {string[][]} */
    const applied = [[], []];
    /** @type {{to: number, sync: any}[]} */
    let wire = [];
    let now = 0;
    const drain = () =>
      sides.forEach((side, i) => {
        for (let sync; (sync = side.poll(now)); ) wire.push({ to: 1 - i, sync });
      });
    const deliver = (/** @type {{to: number, sync: any}} */ { to, sync }) => {
      for (const item of sides[to].receive(sync, now)) {
        applied[to].push(/** @type {any} */ (item).candidate);
      }
      drain();
    };
    for (let step = 0; step < 120; step++) {
      const side = Number(random() < 0.5);
      const action = random();
      if (action < 0.3 && said[side].length < 40) {
        const candidate = `c${said[side].length}`;
        sides[side].say({ type: "candidate", candidate });
        said[side].push(candidate);
      } else if (action < 0.8 && wire.length > 0) {
        const at = Math.floor(random() * wire.length);
        const fate = random();
        const frame = fate < 0.2 ? wire[at] : wire.splice(at, 1)[0];
        if (fate < 0.75) deliver(frame);
      } else if (action < 0.97) {
        now += random() * 5;
      } else {
        wire = [];
        for (const each of sides) each.reconnected();
      }
      drain();
      for (const i of [0, 1]) assert.deepEqual(applied[1 - i], said[i].slice(0, applied[1 - i].length));
    }
    for (let round = 0; round < 100; round++) {
      const frames = wire;
      wire = [];
      frames.forEach(deliver);
      const deadlines = sides.map((side) => side.nextDeadline()).filter((d) => d !== null);
      if (wire.length === 0 && deadlines.length === 0) break;
      now = Math.max(now, Math.min(...deadlines, Infinity) === Infinity ? now : Math.min(...deadlines));
      drain();
    }
    assert.deepEqual(applied, [said[1], said[0]]);
    assert.ok(sides.every((side) => side.settled && side.nextDeadline() === null));
  }
});
