/**
 * How far the host's clock is from the page's, and how wrong that can be: pure. As NTP (RFC 5905) asks a server, but
 * every exchange counts: an answer cannot leave before its question arrived, so each one bounds the difference from
 * both sides. The middle of what all bounds leave is right where both ways take the same time at their fastest; where
 * they do not, it is wrong by at most the error that is told.
 */

/** Exchanges that are remembered: ten seconds' worth. */
const MOST = 20;
/** Two clocks drift apart by this at most, each of them off by 50 ppm; while one is slewed harder the bounds start anew. */
const DRIFT = 100e-6;

export class HostClock {
  /** @type {{at: number, least: number, most: number}[]} */
  #bounds = [];

  /**
   * One exchange, in ms: asked and answered on the page's clock, heard and said on the host's.
   * @param {import("./frames.js").Clock} clock
   * @param {number} answered
   */
  add({ asked, heard, said }, answered) {
    if (said < heard || answered < asked) return;
    const bound = { at: answered, least: said - answered, most: heard - asked };
    if (bound.most < bound.least) return; // the host was longer at it than we waited: not an answer of ours
    this.#bounds.push(bound);
    if (this.#bounds.length > MOST) this.#bounds.shift();
    // Bounds that leave nothing: a clock has jumped (the machine slept), only the newest is true.
    const { least, most } = this.#within(answered);
    if (least > most) this.#bounds = [bound];
  }

  /** @param {number} now */
  #within(now) {
    const drifted = (/** @type {number} */ at) => DRIFT * Math.max(now - at, 0);
    return {
      least: Math.max(...this.#bounds.map(({ at, least }) => least - drifted(at))),
      most: Math.min(...this.#bounds.map(({ at, most }) => most + drifted(at))),
    };
  }

  /**
   * What the host's clock is ahead of the page's, and how much more or less it may be, in ms; null: not known.
   * @param {number} now
   */
  offset(now) {
    if (this.#bounds.length === 0) return null;
    const { least, most } = this.#within(now);
    return { ahead: (least + most) / 2, error: Math.max(most - least, 0) / 2 };
  }
}
