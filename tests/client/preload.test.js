/** The page's modules are all asked for at once: a browser that finds them one import at a time waits for each depth. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const CLIENT = new URL("../../client/", import.meta.url);

/** @param {URL} url */
const text = (url) => readFileSync(url, "utf8");

/** Of everything that a module imports, and what that imports. @param {URL} module @param {Set<string>} found */
function imported(module, found = new Set()) {
  for (const [, name] of text(module).matchAll(/from "(\.[^"]+)"/g)) {
    const { href } = new URL(name, module);
    if (!found.has(href)) imported(new URL(href), found.add(href));
  }
  return found;
}

test("index.html preloads what main.js imports, and nothing else", () => {
  const links = text(new URL("index.html", CLIENT)).matchAll(/rel="modulepreload" href="([^"]+)"/g);
  const preloaded = [...links].map(([, name]) => new URL(name, CLIENT).href);
  assert.deepEqual(preloaded.sort(), [...imported(new URL("main.js", CLIENT))].sort());
});
