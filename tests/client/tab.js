/** A tab with the page in a real browser for each test, against a stub node and, in a second tab, a host. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, afterEach, before, beforeEach } from "node:test";
import { chromium } from "playwright-core";
import { CHROMIUM, CHROMIUM_FLAGS } from "../browser/chromium.mjs";
import { Node } from "./node.js";

/** Where to keep screenshots; nowhere if unset. */
const SHOTS = process.env.TIGHTBEAM_SCREENSHOTS;

/** @type {import("playwright-core").Browser} */
export let browser;
/** @type {Node} */
export let node;
/** @type {import("playwright-core").BrowserContext} */
export let context;
/** @type {import("playwright-core").Page} */
export let page;
/** @type {string[]} */
let complaints;

before(async () => {
  if (SHOTS) mkdirSync(SHOTS, { recursive: true });
  browser = await chromium.launch({ executablePath: CHROMIUM, args: [...CHROMIUM_FLAGS, "--mute-audio"] });
});
after(() => browser.close());

beforeEach(async () => {
  node = new Node();
  await node.start();
  complaints = [];
  await openTab(browser);
});
afterEach(async () => {
  await context.close();
  await node.stop();
  assert.deepEqual(complaints, []);
});

/**
 * The tab that `page` is from now on.
 * @param {import("playwright-core").Browser} from
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function openTab(from, options) {
  await context?.close();
  context = await from.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) complaints.push(message.text());
  });
}

/** @param {string} name */
export async function shot(name) {
  if (!SHOTS) return;
  await page.waitForTimeout(350); // transitions
  await page.screenshot({ path: `${SHOTS}/${name}.png` });
}

/** @param {...string} states */
export async function state(...states) {
  try {
    await page.waitForFunction((wanted) => wanted.includes(document.body.dataset.state), states, { timeout: 20_000 });
  } catch {
    const is = await page.evaluate(() => document.body.dataset.state);
    assert.fail(`expected ${states}, it is ${is}: ${await words()}`);
  }
}

export const words = () => page.textContent("#status");

/** A second tab that is the host. */
export async function hostTab() {
  const host = await context.newPage();
  await host.goto(`${node.url}/stub/host.html`);
  await host.waitForFunction(() => "control" in window);
  await page.bringToFront();
  return host;
}

/** A session that plays. @param {"both" | "page" | "host"} [candidates] whose are used: stub/host.js */
export async function play(candidates = "both") {
  const host = await hostTab();
  await host.evaluate((whose) => Object.assign(window, { candidates: whose }), candidates);
  node.hostIsThere = true;
  await page.goto(`${node.url}/#room=desk`);
  await page.click("#connect");
  await state("playing");
  return host;
}

/** @template T @param {import("playwright-core").Page} host @param {() => T} expression @param {(value: T) => boolean} condition */
export async function until(host, expression, condition) {
  let value;
  for (let i = 0; i < 400; i++) {
    value = await host.evaluate(expression);
    if (condition(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`not so within 20 s: ${JSON.stringify(value)}`);
}

/** Waits until the node has heard something of the page. @param {(message: any) => boolean} condition */
export async function heard(condition) {
  for (let i = 0; i < 400; i++) {
    if (node.heard.some(condition)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`not heard within 20 s: ${JSON.stringify(node.heard.map(({ type, reason }) => [type, reason]))}`);
}

/** The mouse rests at the top edge until it is moved; so long the bar is there. */
export async function callBar() {
  await page.mouse.move(page.viewportSize().width / 2, 3);
  await page.waitForSelector("#bar.shown");
}
