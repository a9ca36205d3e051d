/** The page in a real browser, against a stub node and a host in a second tab; every state is looked at. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { chromium } from "playwright-core";
import { CHROMIUM, CHROMIUM_FLAGS } from "../browser/chromium.mjs";
import { Node } from "./node.js";

/** Where to keep screenshots; nowhere if unset. */
const SHOTS = process.env.TIGHTBEAM_SCREENSHOTS;

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Node} */
let node;
/** @type {import("playwright-core").BrowserContext} */
let context;
/** @type {import("playwright-core").Page} */
let page;
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
  context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  page = await context.newPage();
  complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) complaints.push(message.text());
  });
});
afterEach(async () => {
  await context.close();
  await node.stop();
  assert.deepEqual(complaints, []);
});

/** @param {string} name */
async function shot(name) {
  if (!SHOTS) return;
  await page.waitForTimeout(350); // transitions
  await page.screenshot({ path: `${SHOTS}/${name}.png` });
}

/** @param {...string} states */
async function state(...states) {
  try {
    await page.waitForFunction((wanted) => wanted.includes(document.body.dataset.state), states, { timeout: 20_000 });
  } catch {
    const is = await page.evaluate(() => document.body.dataset.state);
    assert.fail(`expected ${states}, it is ${is}: ${await words()}`);
  }
}

const words = () => page.textContent("#status");

/** A second tab that is the host. */
async function hostTab() {
  const host = await context.newPage();
  await host.goto(`${node.url}/stub/host.html`);
  await host.waitForFunction(() => "control" in window);
  await page.bringToFront();
  return host;
}

async function play() {
  const host = await hostTab();
  node.hostIsThere = true;
  await page.goto(`${node.url}/#room=desk`);
  await page.click("#connect");
  await state("playing");
  return host;
}

/** @param {import("playwright-core").Page} host @param {() => any} expression @param {(value: any) => boolean} condition */
async function until(host, expression, condition) {
  let value;
  for (let i = 0; i < 200; i++) {
    value = await host.evaluate(expression);
    if (condition(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`not so within 10 s: ${JSON.stringify(value)}`);
}

test("without a link the page asks for a room and refuses what is none", async () => {
  await page.goto(node.url);
  await shot("idle");
  await page.fill("#room", "not/a room");
  await page.click("#connect");
  assert.equal(await page.getAttribute("#room", "aria-invalid"), "true");
  assert.equal(node.heard.length, 0);
  await shot("idle-invalid");
  await page.fill("#room", "desk");
  await page.keyboard.press("Enter");
  await state("waiting");
  assert.equal(new URL(page.url()).hash, "#room=desk");
  assert.deepEqual(node.heard[0], { type: "hello", room: "desk", role: "player" });
});

test("a link waits for a click, which uses its token and takes it out of the address", async () => {
  await page.goto(`${node.url}/#room=studio&token=abcdefghijklmnopqrstuv`);
  assert.equal(await page.textContent("#room-name"), "studio");
  await shot("link");
  assert.equal(node.heard.length, 0);
  await page.click("#connect");
  await state("waiting");
  assert.equal(node.heard[0].token, "abcdefghijklmnopqrstuv");
  assert.equal(new URL(page.url()).hash, "#room=studio");
  await shot("waiting");
  await page.reload();
  await state("waiting");
  assert.equal(node.heard.filter(({ type }) => type === "hello").at(-1).session, "session1");
});

test("a page that comes back from the browser's cache begins again only what was under way", async () => {
  const putAside = () =>
    page.evaluate(() => {
      window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
      window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
    });
  await page.goto(`${node.url}/#room=studio&token=abcdefghijklmnopqrstuv`);
  await putAside();
  await state("idle");
  assert.match(new URL(page.url()).hash, /token=/);
  assert.equal(node.heard.length, 0);
  await page.click("#connect");
  await state("waiting");
  await putAside();
  await state("waiting");
  for (let i = 0; i < 200 && node.heard.filter(({ type }) => type === "hello").length < 2; i++) {
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.equal(node.heard.filter(({ type }) => type === "hello").at(-1).session, "session1");
});

test("a used link falls back on the session, and without one says what to do", async () => {
  const refusal = { type: "error", code: "unauthorized", message: "no" };
  node.refusals.push(refusal, refusal);
  await page.goto(`${node.url}/#room=desk&token=abcdefghijklmnopqrstuv`);
  await page.click("#connect");
  await state("failed");
  assert.match((await words()) ?? "", /new link/);
  await shot("failed");
});

test("the picture plays, the sound runs, and the offer is as the protocol says", async () => {
  const host = await play();
  await page.waitForFunction(() => /** @type {any} */ (document.getElementById("screen")).videoWidth > 0);
  await page.waitForFunction(() => /** @type {any} */ (document.getElementById("sound")).currentTime > 0.2);
  const [offer] = await host.evaluate(() => /** @type {any} */ (window).offers);
  assert.match(offer, /m=video[^]*a=recvonly[^]*m=audio[^]*a=recvonly[^]*m=application/);
  assert.match(offer, /stereo=1/);
  const video = offer.slice(offer.indexOf("m=video"), offer.indexOf("m=audio"));
  const [first] = video.match(/a=rtpmap:\d+ (\w+)/);
  assert.match(first, /H264|VP8/);
  assert.doesNotMatch(video, /packetization-mode=0|VP9|AV1/);
  await page.mouse.move(600, 10);
  await shot("playing");
  await page.click("#tool-stats");
  await page.waitForFunction(() => /x264/.test(document.getElementById("stats")?.textContent ?? ""));
  await page.waitForFunction(() => /fps/.test(document.querySelector("#stats dd")?.textContent ?? ""));
  await shot("overlay");
});

test("keys, clicks and the wheel arrive where they were made", async () => {
  const host = await play();
  const input = () => /** @type {any} */ (window).input;
  await page.keyboard.press("KeyA");
  await page.keyboard.press("F5");
  await until(host, input, (events) => events.length >= 4);
  assert.deepEqual(await host.evaluate(input), [[1, 1, 0, 4], [1, 0, 0, 4], [1, 1, 0, 62], [1, 0, 0, 62]]);
  // 1280 x 720 in 1280 x 800: 40 pixels above and below.
  await page.mouse.move(320, 40 + 180);
  await page.mouse.down();
  await page.mouse.down({ button: "right" });
  await page.mouse.up({ button: "right" });
  await page.mouse.up();
  await page.mouse.wheel(0, 100);
  const events = await until(host, input, (all) => all.length >= 9);
  assert.deepEqual(events.slice(4).map((/** @type {number[]} */ event) => event.slice(0, 3)), [
    [2, 1, 0],
    [2, 1, 2],
    [2, 0, 2],
    [2, 0, 0],
    [3, 0, 0],
  ]);
  assert.equal(events[8][4], 120);
  const [, x, y] = await host.evaluate(() => /** @type {any} */ (window).motion);
  assert.equal(Math.floor((x / 65535) * 1280), 320);
  assert.equal(Math.floor((y / 65535) * 720), 180);
  await page.mouse.move(5, 5);
  const motion = () => /** @type {any} */ (window).motion;
  await until(host, motion, ([mode, , top]) => mode === 1 && top === 0);
});

test("what is held when the page loses the focus is released, and the chord gives the keyboard back", async () => {
  const host = await play();
  const input = () => /** @type {any} */ (window).input;
  await page.keyboard.down("KeyW");
  await page.evaluate(() => window.dispatchEvent(new Event("blur")));
  await until(host, input, (events) => events.length === 2 && events[1][0] === 4);
  await page.keyboard.up("KeyW");
  await page.keyboard.press("Control+Alt+Shift+KeyZ");
  await page.waitForFunction(() => document.activeElement?.id === "tool-full");
  await shot("released");
  const before = (await host.evaluate(input)).length;
  await page.keyboard.press("KeyB");
  await page.mouse.click(600, 500);
  await page.keyboard.press("KeyC");
  const events = await until(host, input, (all) => all.some((/** @type {number[]} */ e) => e[3] === 6));
  assert.ok(!events.slice(before).some((/** @type {number[]} */ event) => event[0] === 1 && event[3] === 5));
});

test("a locked mouse sends its way, and the sums begin anew", async () => {
  const host = await play();
  await page.mouse.move(600, 400);
  await page.keyboard.press("Control+Alt+Shift+KeyM");
  await page.waitForFunction(() => document.pointerLockElement?.id === "stage");
  await page.mouse.move(610, 400);
  await page.mouse.move(630, 395, { steps: 5 });
  const motion = () => /** @type {any} */ (window).motion;
  const [, x, y] = await until(host, motion, ([mode, dx]) => mode === 2 && dx >= 30 * 16);
  assert.deepEqual([x, y], [30 * 16, -5 * 16]);
});

test("when only signaling drops the picture goes on, and the page comes back by itself", async () => {
  await play();
  node.refuseSockets = true;
  node.page?.terminate();
  await page.waitForSelector("#notice:not([hidden])");
  await shot("signaling-lost");
  assert.equal(await page.evaluate(() => document.body.dataset.state), "playing");
  node.refuseSockets = false;
  await page.waitForSelector("#notice", { state: "hidden" });
  assert.equal(node.heard.filter(({ type }) => type === "hello").at(-1).resume, "resume1");
  assert.equal(await page.evaluate(() => document.body.dataset.state), "playing");
});

test("a lost connection is told and comes back", async () => {
  const host = await play();
  await host.evaluate(() => /** @type {any} */ (window).vanish());
  await state("lost");
  assert.match((await words()) ?? "", /^Connection lost, reconnecting in \d+ seconds?\.$/);
  await shot("lost");
  await state("playing");
});

test("when the host says goodbye nothing retries until the user wants to", async () => {
  await play();
  node.hostLeaves("bye");
  await state("ended");
  assert.equal(await words(), "The host ended the session.");
  await shot("ended");
  const heard = node.heard.length;
  await page.waitForTimeout(1500); // longer than the first back-off
  assert.equal(node.heard.length, heard);
  node.hostIsThere = true;
  await page.click("#connect");
  await state("playing");
});

test("a host that is busy says why, and its renegotiate makes a new connection", async () => {
  const host = await play();
  await host.evaluate(() => /** @type {any} */ (window).control("renegotiate"));
  await until(host, () => /** @type {any} */ (window).offers.length, (count) => count === 2);
  await state("playing");
  await host.evaluate(() => /** @type {any} */ (window).control("busy", { message: "The display is asleep." }));
  await state("waiting");
  assert.match((await words()) ?? "", /The display is asleep\. Trying again in/);
  await shot("busy");
  await state("playing");
});

test("ending the session and closing the page say goodbye", async () => {
  await play();
  await page.mouse.move(600, 5);
  await page.click("#tool-leave");
  await state("idle");
  assert.deepEqual(node.heard.at(-1), { type: "bye", reason: "left" });
  await page.click("#connect");
  await state("playing");
  await page.close();
  for (let i = 0; i < 200 && node.heard.at(-1).reason !== "page closed"; i++) {
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.deepEqual(node.heard.at(-1), { type: "bye", reason: "page closed" });
});

test("on a phone everything fits", async () => {
  await page.setViewportSize({ width: 375, height: 667 });
  await page.goto(`${node.url}/#room=living-room`);
  await shot("phone-idle");
  await hostTab();
  node.hostIsThere = true;
  await page.click("#connect");
  await state("playing");
  await page.mouse.move(100, 5);
  await shot("phone-playing");
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.ok(!wide);
});
