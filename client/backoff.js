/** When to try again: "full jitter" back-off, so that many pages do not come back at the same moment. */

const FIRST_S = 0.5;
const MOST_S = 15;

/** Doubling limits with a random delay below each; `random` gives uniform numbers in [0, 1). */
export class Backoff {
  #attempt = 0;

  /** @param {() => number} [random] @param {number} [firstS] @param {number} [mostS] */
  constructor(random = Math.random, firstS = FIRST_S, mostS = MOST_S) {
    this.random = random;
    this.firstS = firstS;
    this.mostS = mostS;
  }

  /** Seconds to wait before the next attempt. @param {number} [leastS] what the other side asked for */
  next(leastS = 0) {
    const limit = Math.min(this.firstS * 2 ** this.#attempt, this.mostS);
    this.#attempt += 1;
    return leastS + limit * this.random();
  }

  /** It worked: begin anew. */
  reset() {
    this.#attempt = 0;
  }
}
