/**
 * Says over lossy datagrams what the gamepads do, so that no press is lost (docs/protocol.md 6.1): sans IO, no clock.
 *
 * Flow: gamepad.js reports the state of all pads, this says which bytes go out and when, and the host's PADS_ACK comes
 * back. As for sender.js: `now` in seconds, drain `poll`, then wait until `nextDeadline`; one for each data channel.
 *
 * @typedef {import("./pad_encode.js").PadState} PadState
 * @typedef {import("./pad_encode.js").PadChange & {at: number}} PadChange `at`: when it was made, in seconds
 */
import { LATE_S } from "./carry.js";
import { MAX_CHANGES, encodePads } from "./pad_encode.js";

/** What changed goes out at once and after these delays: a button three times within 10 ms, and once more. */
const BUTTON_REPEATS_S = [0.004, 0.008, 0.025];
const AXES_REPEATS_S = [0.02];
/** Sticks alone go out at most this often; it is how often browsers look at them. */
const AXES_EVERY_S = 0.004;
/** The whole state is said this often while a pad is connected, and for so many times after the last one was. */
const STATE_EVERY_S = 0.1;
const FAREWELLS = 5;

const KEYS = /** @type {const} */ (["buttons", "leftTrigger", "rightTrigger", "leftX", "leftY", "rightX", "rightY"]);

/** @param {PadState | undefined} a @param {PadState | undefined} b */
const same = (a, b) => a === b || (a !== undefined && b !== undefined && KEYS.every((key) => a[key] === b[key]));

export class PadSender {
  #stamp = 0;
  /** The connected pads, in rising order. @type {Map<number, PadState>} */
  #newest = new Map();
  /** Every change of buttons that is not acknowledged; more than fit push the oldest out. @type {PadChange[]} */
  #changes = [];
  /** Sequence number of the first of them. */
  #first = 1;
  /** When to say it (again), sorted. @type {number[]} */
  #due = [];
  #axesAfter = -Infinity;
  #stateAt = Infinity;
  #farewells = 0;

  /** How many changes are not acknowledged. */
  get outstanding() {
    return this.#changes.length;
  }

  /**
   * Go on for the sender of a connection whose place this one takes, with its numbers, by which the host knows what it
   * heard there. What it had said of the last second and was not acknowledged is said again, but for the sticks: a tap
   * is still wanted, a way that they made is not. Before anything else is said here.
   * @param {PadSender} former
   * @param {number} now
   */
  carry(former, now) {
    if (former.#stamp === 0) return;
    const late = former.#changes.filter(({ at }) => now - at > LATE_S).length;
    this.#stamp = former.#stamp;
    this.#first = former.#first + late;
    this.#newest = former.#newest;
    this.#changes = former.#changes.slice(late).map(({ pad, state, at }) => {
      const { leftX, leftY, rightX, rightY } = this.#newest.get(pad) ?? state;
      return { pad, at, state: { ...state, leftX, leftY, rightX, rightY } };
    });
    this.#farewells = FAREWELLS;
    this.#stateAt = now;
    this.#plan([now, ...BUTTON_REPEATS_S.map((delay) => now + delay)]);
  }

  /** What all connected pads say. @param {Map<number, PadState>} states by pad, 0..3 @param {number} now */
  update(states, now) {
    const pads = [...states.keys()].sort();
    const replugged = pads.length !== this.#newest.size || pads.some((pad) => !this.#newest.has(pad));
    let pressed = false;
    let moved = false;
    for (const pad of pads) {
      const state = /** @type {PadState} */ (states.get(pad));
      const before = this.#newest.get(pad);
      moved ||= !same(before, state);
      if (state.buttons === (before?.buttons ?? 0)) continue;
      pressed = true;
      this.#changes.push({ pad, state, at: now });
    }
    const surplus = Math.max(this.#changes.length - MAX_CHANGES, 0);
    this.#changes.splice(0, surplus);
    this.#first += surplus;
    this.#newest = new Map(pads.map((pad) => [pad, /** @type {PadState} */ (states.get(pad))]));
    if (replugged) this.#farewells = FAREWELLS;
    if (pressed || replugged) this.#plan([now, ...BUTTON_REPEATS_S.map((delay) => now + delay)]);
    else if (moved) {
      const at = Math.max(now, this.#axesAfter);
      this.#plan([at, ...AXES_REPEATS_S.map((delay) => at + delay)]);
    }
    if (replugged) this.#stateAt = Math.min(this.#stateAt, now + STATE_EVERY_S);
  }

  /** @param {number} next every change before it has been applied */
  acknowledge(next) {
    const applied = next - this.#first;
    if (applied <= 0 || applied > this.#changes.length) return; // an older one, or one of changes never sent
    this.#changes.splice(0, applied);
    this.#first = next;
  }

  /** The next message to send, or null. Call until null. @param {number} now @returns {ArrayBuffer | null} */
  poll(now) {
    if (now < this.nextDeadline()) return null;
    this.#due = this.#due.filter((time) => time > now);
    this.#axesAfter = now + AXES_EVERY_S;
    if (now >= this.#stateAt) {
      if (this.#newest.size === 0) this.#farewells -= 1;
      this.#stateAt = this.#newest.size > 0 || this.#farewells > 0 ? now + STATE_EVERY_S : Infinity;
    }
    return encodePads({
      stamp: ++this.#stamp,
      first: this.#first,
      changes: this.#changes,
      newest: [...this.#newest].map(([pad, state]) => ({ pad, state })),
    });
  }

  /** When `poll` has something without a call in between; Infinity: only after one. */
  nextDeadline() {
    return Math.min(this.#due[0] ?? Infinity, this.#stateAt);
  }

  /** Adds times to say it. @param {number[]} times sorted */
  #plan(times) {
    // Later repeats of what was planned before say this too, so only as many wait as one plan has.
    const earlier = this.#due.filter((time) => time < times[0]);
    const later = this.#due.filter((time) => time > (times.at(-1) ?? 0));
    this.#due = [...earlier, ...times, ...later.slice(0, 1)];
  }
}
