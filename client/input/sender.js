/**
 * Makes lossy datagrams a reliable input channel by repetition (docs/protocol.md 6.1): sans IO, no clock.
 *
 * Flow: keyboard.js and pointer.js report events and motion, the sender says which bytes go out and when, and the
 * host's ACK comes back. `now` is in seconds of any monotonic clock. After every call drain `poll`, then wait until
 * `nextDeadline`. One sender lives as long as one data channel.
 *
 * @typedef {import("./encode.js").InputEvent} InputEvent
 * @typedef {import("./encode.js").Motion} Motion
 * @typedef {import("./carry.js").TimedEvent} TimedEvent
 */
import { carryOver, hold } from "./carry.js";
import { MAX_EVENTS, MAX_HELD_KEYS, MAX_TEXT_BYTES, MAX_TURN, NO_MOTION, encodeCarried, encodeEvents, encodeHeld } from "./encode.js";

/** A new event goes out at once and after these delays: three times within 10 ms. */
const REPEATS_S = [0.004, 0.008];
/** What is still not acknowledged goes out again after the first of these, doubling to the second. */
const RESEND_FIRST_S = 0.025;
const RESEND_MOST_S = 0.2;
/** Motion alone goes out at most this often: the mouse reports 1000 times a second, no screen shows more than 250. */
const MOTION_EVERY_S = 0.004;
/** The last motion of a movement is said again, as nothing else would repeat it if it were lost. */
const MOTION_REPEATS_S = [0.02, 0.1];
const HELD_EVERY_S = 0.1;
/** A host that has not acknowledged what was carried by then does not know CARRIED: it gets EVENTS. */
const CARRIED_FOR_S = 0.5;
/** Events that wait behind the 64 on their way; more of them mean that nobody listens. */
export const MAX_BACKLOG = 256;
/** Of one call of `text`; longer ones are what the clipboard is for. */
const MAX_TEXT = 1024;

/** @param {number[]} times @param {number} now Whether the first of some sorted times has come; removes it. */
function due(times, now) {
  if (times.length === 0 || now < times[0]) return false;
  while (times.length > 0 && now >= times[0]) times.shift();
  return true;
}

export class InputSender {
  #stamp = 0;
  /** @type {Motion} */
  #motion = NO_MOTION;
  /** Sequence number of the first event in `#events`. */
  #first = 1;
  /** Every event that is not acknowledged; the first 64 are on their way. @type {TimedEvent[]} */
  #events = [];
  /** How many of `#events` have been sent at least once. */
  #sent = 0;
  /** When to send again what is on its way. @type {number[]} */
  #repeats = [];
  #resendAfterS = RESEND_FIRST_S;
  #resendAt = Infinity;
  #motionFresh = false;
  #motionAfter = 0;
  /** @type {number[]} */
  #motionRepeats = [];
  #heldAt = Infinity;
  /** What was held after the last event that is acknowledged. @type {import("./carry.js").Holding} */
  #applied = { usages: new Set(), buttons: new Set() };
  /** Of what was said on the former connection, until anything is acknowledged here. @type {import("./encode.js").Carried | null} */
  #carried = null;
  #carriedUntil = Infinity;
  /** @type {Set<number>} */
  #buttons = new Set();
  /** @type {Set<number>} */
  #usages = new Set();
  /** How often everything was released because nobody listened. */
  overflows = 0;

  get #holding() {
    return this.#buttons.size + this.#usages.size > 0;
  }

  /** @param {number} usage */
  holdsKey(usage) {
    return this.#usages.has(usage);
  }

  /** @param {number} button */
  holdsButton(button) {
    return this.#buttons.has(button);
  }

  get heldKeys() {
    return [...this.#usages];
  }

  get heldButtons() {
    return [...this.#buttons];
  }

  /** How many events are not acknowledged. */
  get outstanding() {
    return this.#events.length;
  }

  /** Sequence number of the newest event. */
  get newest() {
    return this.#first + this.#events.length - 1;
  }

  /**
   * Hold here what is held by the sender of a connection whose place this one takes, and say again what it had said
   * and was not acknowledged. Before anything else is said here.
   * @param {InputSender} former
   * @param {number} now
   */
  carry(former, now) {
    const { presses, events, former: first } = carryOver(former.#applied, former.#events, former.#first, now);
    for (const event of [...presses, ...events]) this.#add(event, now);
    if (events.length > 0) this.#carried = { former: first, first: presses.length + 1, count: events.length };
    this.#usages = new Set(former.#usages);
    this.#buttons = new Set(former.#buttons);
  }

  /** @param {number} usage @param {boolean} down @param {number} now */
  key(usage, down, now) {
    // One more key than HELD can tell would be released again by the host.
    if (down === this.#usages.has(usage) || (down && this.#usages.size >= MAX_HELD_KEYS)) return;
    if (down) this.#usages.add(usage);
    else this.#usages.delete(usage);
    this.#add({ kind: "key", down, usage }, now);
  }

  /** @param {number} button @param {boolean} down @param {Motion} motion @param {number} now */
  button(button, down, motion, now) {
    if (down === this.#buttons.has(button)) return;
    if (down) this.#buttons.add(button);
    else this.#buttons.delete(button);
    this.#motion = motion;
    this.#add({ kind: "button", down, button, motion }, now);
  }

  /** @param {number} dx @param {number} dy in 1/120 notch @param {number} now */
  wheel(dx, dy, now) {
    if (dx === 0 && dy === 0) return;
    const last = this.#events.at(-1);
    if (last?.kind === "wheel" && this.#events.length > Math.max(this.#sent, MAX_EVENTS)) {
      dx += last.dx;
      dy += last.dy;
      this.#events.pop(); // it waits unsent and without a deadline of its own: one event says both
    }
    const clamp = (/** @type {number} */ turn) => Math.min(Math.max(turn, -MAX_TURN), MAX_TURN);
    this.#add({ kind: "wheel", dx: clamp(dx), dy: clamp(dy) }, now);
  }

  /** Characters that no key stands for. @param {string} text @param {number} now */
  text(text, now) {
    // A character has at most four bytes of UTF-8.
    const characters = [...text.slice(0, MAX_TEXT)];
    const most = MAX_TEXT_BYTES / 4;
    for (let at = 0; at < characters.length; at += most) {
      this.#add({ kind: "text", text: characters.slice(at, at + most).join("") }, now);
    }
  }

  /** The page lost the focus: let go of everything. @param {number} now */
  releaseAll(now) {
    if (!this.#holding) return;
    this.#forgetHeld();
    this.#add({ kind: "release-all" }, now);
  }

  /** @param {Motion} motion the newest; older ones that were not sent are forgotten @param {number} now */
  move(motion, now) {
    this.#motion = motion;
    this.#motionFresh = true;
    this.#motionAfter = Math.max(this.#motionAfter, now);
  }

  /** @param {number} next every event before it has been applied @param {number} now */
  acknowledge(next, now) {
    const applied = next - this.#first;
    if (applied <= 0 || applied > this.#sent) return; // an older one, or one of events never sent
    for (const event of this.#events.splice(0, applied)) hold(this.#applied, event);
    this.#carried = null;
    this.#first = next;
    this.#sent -= applied;
    this.#resendAfterS = RESEND_FIRST_S;
    if (this.#sent === 0) {
      this.#repeats = [];
      this.#resendAt = Infinity;
    } else {
      this.#resendAt = now + this.#resendAfterS;
    }
    this.#window(now);
  }

  /** The next message to send, or null. Call until null. @param {number} now @returns {ArrayBuffer | null} */
  poll(now) {
    if (this.#eventsDue(now)) {
      this.#motionSent(now);
      const events = this.#events.slice(0, MAX_EVENTS);
      const { first, motion } = { first: this.#first, motion: this.#motion };
      const message = /** @type {const} */ ({ type: "events", stamp: ++this.#stamp, motion, first, events });
      if (this.#carried && this.#carriedUntil === Infinity) this.#carriedUntil = now + CARRIED_FOR_S;
      if (!this.#carried || now > this.#carriedUntil) return encodeEvents(message);
      return encodeCarried({ ...message, carried: this.#carried });
    }
    if (now < this.#heldAt) return null;
    this.#heldAt = this.#holding ? now + HELD_EVERY_S : Infinity;
    return encodeHeld({
      type: "held",
      stamp: ++this.#stamp,
      motion: this.#motion,
      last: this.newest,
      buttons: [...this.#buttons],
      usages: [...this.#usages],
    });
  }

  /** When `poll` has something without a call in between; Infinity: only after one. */
  nextDeadline() {
    const motion = this.#motionFresh ? this.#motionAfter : Infinity;
    return Math.min(
      this.#repeats[0] ?? Infinity,
      this.#resendAt,
      motion,
      this.#motionRepeats[0] ?? Infinity,
      this.#heldAt,
    );
  }

  /** @param {number} now */
  #eventsDue(now) {
    const repeat = due(this.#repeats, now);
    const resend = now >= this.#resendAt;
    if (repeat || resend) {
      if (resend) this.#resendAfterS = Math.min(2 * this.#resendAfterS, RESEND_MOST_S);
      this.#resendAt = now + this.#resendAfterS;
    }
    const motion = this.#motionFresh ? now >= this.#motionAfter : due(this.#motionRepeats, now);
    return repeat || resend || motion;
  }

  /** @param {number} now */
  #motionSent(now) {
    if (this.#motionFresh) this.#motionRepeats = MOTION_REPEATS_S.map((delay) => now + delay);
    this.#motionFresh = false;
    this.#motionAfter = now + MOTION_EVERY_S;
  }

  /** @param {InputEvent} event @param {number} now */
  #add(event, now) {
    this.#events.push({ at: now, ...event });
    if (this.#events.length > MAX_EVENTS + MAX_BACKLOG) {
      this.overflows += 1;
      this.#events.length = this.#sent;
      this.#forgetHeld();
      this.#events.push({ kind: "release-all", at: now });
    }
    if (event.kind !== "wheel" && event.kind !== "text") this.#heldAt = Math.min(this.#heldAt, now + HELD_EVERY_S);
    this.#window(now);
  }

  /** Plans the sending of events that have come to be among the first 64. @param {number} now */
  #window(now) {
    const reach = Math.min(this.#events.length, MAX_EVENTS);
    if (reach <= this.#sent) return;
    this.#sent = reach;
    // Later repeats of earlier events repeat these too, so no more than three times ever wait here.
    const earlier = this.#repeats.filter((time) => time < now + REPEATS_S[0]);
    this.#repeats = [...earlier, now, ...REPEATS_S.map((delay) => now + delay)].sort((a, b) => a - b);
    this.#resendAt = Math.min(this.#resendAt, now + RESEND_FIRST_S);
  }

  #forgetHeld() {
    this.#buttons.clear();
    this.#usages.clear();
  }
}
