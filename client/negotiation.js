/**
 * A negotiation as two append-only logs, so that no lost, doubled or late frame can harm it.
 *
 * The page's side of docs/protocol.md 3.2: it keeps the list of what it said and knows how much of it the host
 * holds; what is missing is sent again. No clock: `now` is in seconds of any monotonic clock. The same machine as
 * cluster/protocol/negotiation.py; tests/vectors/negotiation.json runs both.
 *
 * @typedef {import("./messages.js").Item} Item
 * @typedef {import("./messages.js").Sync} Sync
 */
import { MAX_ITEMS, MAX_MESSAGE_BYTES, MAX_REPLACES } from "./messages.js";

export const RESEND_FIRST_S = 0.5;
export const RESEND_MOST_S = 4;
/** After two repeats in vain. */
const LONG_WAIT_S = 2;
export const ACKNOWLEDGE_WITHIN_S = 0.1;
/** A `sync` holds as many items as fit in this, at least one. */
export const MAX_SYNC_BYTES = 128 * 1024;
/** Of an item alone in its `sync`; the rest is for the other keys, 16 replaced ids among them. */
export const MAX_SAID_BYTES = MAX_MESSAGE_BYTES - 2048;

/** A list would get more than 256 items, or one that no frame can carry. */
export class LogFullError extends Error {}

/** Of its JSON in ASCII, which no encoder makes longer. @param {Item} item */
function size(item) {
  return JSON.stringify(item).replace(/[^\0-\x7f]/g, "\\u0000").length;
}

/** A fresh negotiation id: 128 random bits as 22 characters of base64url. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

/** One side of one negotiation. After every call, drain `poll`; then wait until `nextDeadline`. */
export class Negotiation {
  /** @type {Item[]} */
  #said = [];
  #sent = 0;
  #held = 0;
  #resendAfterS = RESEND_FIRST_S;
  /** @type {number | null} */
  #resendAt = null;
  /** @type {number | null} */
  #acknowledgeAt = null;

  /**
   * @param {string} me
   * @param {string} other
   * @param {string} negotiation
   * @param {string[]} [replaces] what `leaves` gave of the negotiation before, in the place of which this one comes
   */
  constructor(me, other, negotiation, replaces = []) {
    this.me = me;
    this.other = other;
    this.negotiation = negotiation;
    this.replaces = replaces;
    /** Whether the other is known to have begun this negotiation. */
    this.heard = false;
    /** How many items of the other's list have been applied here. */
    this.has = 0;
  }

  /** Whether the other is known to hold all that was said here. */
  get settled() {
    return this.#held === this.#said.length;
  }

  /**
   * The ids that the negotiation after this one has to name, as the other may not have seen them yet.
   *
   * Their offers may still be on the way, held up in a node, and must not be taken for newer ones.
   */
  leaves() {
    return this.heard ? [] : [...this.replaces, this.negotiation].slice(-MAX_REPLACES);
  }

  /** Append to our list; `poll` sends it. Throws a LogFullError. @param {Item} item */
  say(item) {
    if (this.#said.length >= MAX_ITEMS) {
      throw new LogFullError(`a negotiation has at most ${MAX_ITEMS} items a side`);
    }
    if (size(item) > MAX_SAID_BYTES) {
      throw new LogFullError(`an item has at most ${MAX_SAID_BYTES} bytes as JSON`);
    }
    this.#said.push(item);
  }

  /**
   * Apply the other's `sync`; the items that are new here, in order, each returned once ever.
   * @param {Sync} sync
   * @param {number} now
   * @returns {Item[]}
   */
  receive(sync, now) {
    this.heard = true;
    this.#learn(sync.has, now);
    if (this.#resendAt !== null && this.#resendAfterS >= LONG_WAIT_S) {
      // The way is open again: the rest of a wait that grew while it was not would be lost time.
      this.#resendAfterS = RESEND_FIRST_S;
      this.#resendAt = now;
    }
    if (sync.items.length === 0) return [];
    const fresh = sync.at > this.has ? [] : sync.items.slice(this.has - sync.at, MAX_ITEMS - sync.at);
    this.has += fresh.length;
    // Duplicates and gaps are acknowledged too: the other is missing our acknowledgement.
    this.#acknowledgeAt ??= now + ACKNOWLEDGE_WITHIN_S;
    return fresh;
  }

  /** @param {number} has @param {number} now */
  #learn(has, now) {
    if (has <= this.#held || has > this.#said.length) return;
    this.#held = has;
    this.#sent = Math.max(this.#sent, has);
    this.#resendAfterS = RESEND_FIRST_S;
    this.#resendAt = this.#held === this.#sent ? null : now + this.#resendAfterS;
  }

  /** The other joined again or we did: what it is not known to have goes out at once. */
  reconnected() {
    this.#sent = this.#held;
    this.#resendAfterS = RESEND_FIRST_S;
    this.#resendAt = null;
  }

  /**
   * The next frame to send, or null. Call until null.
   * @param {number} now
   * @returns {Sync | null}
   */
  poll(now) {
    if (this.#resendAt !== null && now >= this.#resendAt) {
      this.#sent = this.#held;
      this.#resendAfterS = Math.min(2 * this.#resendAfterS, RESEND_MOST_S);
      this.#resendAt = null;
    }
    if (this.#sent < this.#said.length) {
      const at = this.#sent;
      const items = this.#nextItems();
      this.#sent += items.length;
      this.#resendAt ??= now + this.#resendAfterS;
      return this.#sync(at, items);
    }
    if (this.#acknowledgeAt !== null && now >= this.#acknowledgeAt) return this.#sync(this.#sent, []);
    return null;
  }

  #nextItems() {
    /** @type {Item[]} */
    const items = [];
    let room = MAX_SYNC_BYTES;
    for (const item of this.#said.slice(this.#sent)) {
      room -= size(item);
      if (items.length > 0 && room < 0) break;
      items.push(item);
    }
    return items;
  }

  /** @param {number} at @param {Item[]} items @returns {Sync} */
  #sync(at, items) {
    this.#acknowledgeAt = null;
    const { me, other, negotiation, has, replaces } = this;
    /** @type {Sync} */
    const sync = { type: "sync", to: other, from: me, negotiation, at, items, has };
    if (at === 0 && items.length > 0 && replaces.length > 0) sync.replaces = replaces;
    return sync;
  }

  /** When `poll` may have something without a call in between; null: only after one. */
  nextDeadline() {
    if (this.#resendAt === null) return this.#acknowledgeAt;
    return Math.min(this.#resendAt, this.#acknowledgeAt ?? Infinity);
  }
}
