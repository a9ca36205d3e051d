/** The negotiation log under every fault that a relay can have; tests/protocol/relay.py is the same model. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_MESSAGE_BYTES, encode } from "../../client/messages.js";
import { MAX_SYNC_BYTES, Negotiation } from "../../client/negotiation.js";
import { cases, seeded } from "./vectors.js";

/**
 * @typedef {import("../../client/messages.js").Item} Item
 * @typedef {import("../../client/messages.js").Sync} Sync
 */
const PAGE = "P".repeat(22);
const HOST = "H".repeat(22);
const LATENCY_S = 0.01;
const SETTLES_WITHIN_S = 4.5;
const FRAMES_UNTIL_SETTLED = 12;
const FRAMES_FOR_A_LATE_ONE = 3;
const MOST_SAID = 40;
const MOST_BEGUN = 20;

/** The host's rules about which negotiation runs: docs/protocol.md 3.2. The page itself never answers. */
class Answerer {
  /** @type {Negotiation | null} */
  running = null;
  /** @type {Set<string>} */
  retired = new Set();

  /** @param {Sync} sync @param {number} now @returns {{began: boolean, items: Item[]}} */
  receive(sync, now) {
    if (sync.negotiation === this.running?.negotiation) {
      return { began: false, items: this.running.receive(sync, now) };
    }
    const begins = sync.at === 0 && sync.items[0]?.type === "offer";
    if (!begins || this.retired.has(sync.negotiation)) return { began: false, items: [] };
    this.end();
    for (const id of sync.replaces ?? []) this.retired.add(id);
    this.running = new Negotiation(HOST, PAGE, sync.negotiation);
    return { began: true, items: this.running.receive(sync, now) };
  }

  end() {
    if (this.running) this.retired.add(this.running.negotiation);
    this.running = null;
  }
}

/** Both sides, what is on the wire between them, the time, and all that was said and applied. */
class World {
  now = 0;
  host = new Answerer();
  /** @type {Sync[]} */
  wire = [];
  frames = 0;
  /** @type {string[]} */
  begun = [];
  newest = -1;
  /** Whether the page has a socket. */
  online = true;
  /** @type {Set<string>} */
  ended = new Set();
  /** @type {Record<string, Item[]>} */
  said = {};
  /** @type {Record<string, Item[]>} */
  applied = {};
  /** @type {Negotiation | null} */
  #page = null;

  constructor() {
    this.startAnew();
  }

  get page() {
    return /** @type {Negotiation} */ (this.#page);
  }

  startAnew() {
    const id = `n${String(this.begun.length).padStart(21, "0")}`;
    this.begun.push(id);
    for (const log of [PAGE + id, HOST + id]) {
      this.said[log] = [];
      this.applied[log] = [];
    }
    this.#page = new Negotiation(PAGE, HOST, id, this.#page?.leaves() ?? []);
    this.say(this.#page, { type: "offer", sdp: id });
  }

  /** @param {Negotiation} side @param {Item} item */
  say(side, item) {
    side.say(item);
    this.said[side.me + side.negotiation].push(item);
    this.drain();
  }

  hostEnds() {
    if (this.host.running) this.ended.add(this.host.running.negotiation);
    this.host.end();
  }

  /** Who can speak. */
  #sides() {
    return [this.online ? this.page : null, this.host.running].filter((side) => side !== null);
  }

  drain() {
    for (const side of this.#sides()) {
      for (let sync; (sync = side.poll(this.now)); this.frames++) {
        assert.ok(new TextEncoder().encode(encode(sync)).length <= MAX_MESSAGE_BYTES);
        this.wire.push(sync);
      }
    }
  }

  /** @param {Sync} sync */
  deliver(sync) {
    if (sync.to === HOST) this.#toHost(sync);
    else if (this.online && sync.negotiation === this.page.negotiation) {
      this.#apply(HOST + sync.negotiation, this.page.receive(sync, this.now));
    }
    this.drain();
  }

  /** @param {Sync} sync */
  #toHost(sync) {
    const { began, items } = this.host.receive(sync, this.now);
    if (items.length > 0) assert.equal(this.host.running?.negotiation, sync.negotiation);
    this.#apply(PAGE + sync.negotiation, items);
    if (!began || !this.host.running) return;
    const number = this.begun.indexOf(sync.negotiation);
    assert.ok(number > this.newest, "a late frame of a replaced negotiation began it again");
    this.newest = number;
    this.say(this.host.running, { type: "answer", sdp: sync.negotiation });
  }

  /** @param {string} log @param {Item[]} items */
  #apply(log, items) {
    this.applied[log].push(...items);
    assert.deepEqual(this.applied[log], this.said[log].slice(0, this.applied[log].length));
  }

  /** @param {number} seconds */
  pass(seconds) {
    this.now += seconds;
    this.drain();
  }

  deadlines() {
    return this.#sides().map((side) => side.nextDeadline()).filter((time) => time !== null);
  }

  passToDeadline() {
    const deadlines = this.deadlines();
    this.pass(deadlines.length > 0 ? Math.max(0, Math.min(...deadlines) - this.now) : 0);
  }

  pageReconnects() {
    this.online = true;
    this.page.reconnected();
    this.drain();
  }

  nodesDie() {
    this.wire = [];
    this.host.running?.reconnected();
    this.pageReconnects();
  }

  /** From now on the network is whole: both sides must agree soon, in few frames, and fall silent. */
  settle() {
    if (!this.online) this.pageReconnects();
    if (this.ended.has(this.page.negotiation)) this.startAnew();
    const long = Object.values(this.said)
      .flat()
      .map((item) => JSON.stringify(item).length)
      .filter((size) => size > 1000)
      .reduce((sum, size) => sum + Math.floor((6 * size) / MAX_SYNC_BYTES) + 1, 0);
    const most = this.frames + FRAMES_UNTIL_SETTLED + FRAMES_FOR_A_LATE_ONE * this.wire.length + 2 * long;
    const started = this.now;
    while (this.wire.length > 0 || this.deadlines().length > 0) {
      if (this.wire.length === 0) this.passToDeadline();
      this.now += LATENCY_S;
      assert.ok(this.now - started <= SETTLES_WITHIN_S);
      const wire = this.wire;
      this.wire = [];
      wire.forEach((sync) => this.deliver(sync));
    }
    assert.equal(this.host.running?.negotiation, this.page.negotiation);
    assert.ok(this.page.settled && this.host.running?.settled);
    for (const side of [PAGE, HOST]) {
      assert.deepEqual(this.applied[side + this.page.negotiation], this.said[side + this.page.negotiation]);
    }
    assert.ok(this.frames <= most, `${this.frames} frames, expected ${most} at most`);
  }
}

/** @param {World} world @param {() => number} random @param {Negotiation | null} side */
function say(world, random, side) {
  if (!side) return;
  const { length } = world.said[side.me + side.negotiation];
  if (length >= MOST_SAID) return;
  const name = `c${length}`;
  const size = random() < 0.9 ? 0 : 5000 + random() * 5000;
  if (size === 0) world.say(side, { type: "candidate", candidate: name });
  else world.say(side, { type: "control", action: name, payload: { padding: "é".repeat(size) } });
}

/** @param {World} world @param {() => number} random */
function relay(world, random) {
  if (world.wire.length === 0) return;
  const at = Math.floor(random() * world.wire.length);
  const fate = random();
  const sync = fate < 0.25 ? world.wire[at] : world.wire.splice(at, 1)[0];
  if (fate < 0.75) world.deliver(sync);
}

/** What can happen, and how often it does. @type {[number, (world: World, random: () => number) => void][]} */
const RULES = [
  [4, (world, random) => say(world, random, world.page)],
  [4, (world, random) => say(world, random, world.host.running)],
  [12, relay],
  [3, (world, random) => world.pass(random() * (random() < 0.5 ? 0.2 : 5))],
  [3, (world) => world.passToDeadline()],
  [1, (world) => world.nodesDie()],
  [1, (world) => void (world.online = false)],
  [2, (world) => world.pageReconnects()],
  [1, (world) => world.begun.length < MOST_BEGUN && world.startAnew()],
  [0.5, (world) => world.hostEnds()],
];
const TURNS = RULES.flatMap(([weight, rule]) => Array(weight * 2).fill(rule));

test("both logs arrive whole whatever the relay does, and no replaced negotiation begins again", () => {
  for (let seed = 0; seed < cases(1000); seed++) {
    const random = seeded(seed);
    const world = new World();
    try {
      for (let step = 0; step < 120; step++) TURNS[Math.floor(random() * TURNS.length)](world, random);
      world.settle();
    } catch (error) {
      throw new Error(`with seed ${seed}`, { cause: error });
    }
  }
});
