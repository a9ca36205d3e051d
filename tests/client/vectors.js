/** The examples that the Python and the JavaScript implementation both run, and randomness with a seed. */
import { readFileSync } from "node:fs";

/** @param {string} name @returns {any} */
export function load(name) {
  return JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8"));
}

/** How many random cases a test runs. @param {number} usual */
export function cases(usual) {
  return usual * Number(process.env.TIGHTBEAM_FUZZ_FACTOR ?? 1);
}

/** Uniform numbers in [0, 1) from a seed (the mulberry32 generator). @param {number} seed */
export function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
