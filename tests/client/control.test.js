/** What the user does in a session, in a real browser: what reaches the host of it, and what stays with the page. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, callBar, openTab, page, play, shot, until } from "./tab.js";

/** Kinds of input events: docs/protocol.md 6.1. */
const KEY = 1;
const BUTTON = 2;
const RELEASE_ALL = 4;
const TEXT = 5;

/** What the host has applied, event by event; to be evaluated in its tab. @returns {number[][]} */
const input = () => /** @type {any} */ (window).input;

test("keys, clicks and the wheel arrive where they were made", async () => {
  const host = await play();
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
  await page.keyboard.down("KeyW");
  await page.evaluate(() => window.dispatchEvent(new Event("blur")));
  await until(host, input, (events) => events.length === 2 && events[1][0] === 4);
  await page.keyboard.up("KeyW");
  await page.waitForSelector("#bar", { state: "hidden" }); // a bar that is hidden must take the focus too
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

test("an input method writes to the host while text entry is on, and keys stay keys", async () => {
  const host = await play();
  const typed = (/** @type {number[][]} */ all) =>
    Buffer.from(all.filter(([kind]) => kind === TEXT).flatMap((event) => event.slice(2))).toString();
  const keys = (/** @type {number[][]} */ all) => all.filter(([kind]) => kind === KEY).map((event) => event[3]);
  await page.keyboard.insertText("nobody listens");
  await page.keyboard.press("Control+Alt+Shift+KeyT");
  await page.waitForFunction(() => document.activeElement?.id === "typed");
  await shot("text");
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Input.imeSetComposition", { text: "に", selectionStart: 1, selectionEnd: 1 });
  await devtools.send("Input.imeSetComposition", { text: "にほ", selectionStart: 2, selectionEnd: 2 });
  await devtools.send("Input.insertText", { text: "日本" });
  await page.keyboard.press("KeyA");
  await page.mouse.click(600, 500); // the picture gives the focus back
  await page.keyboard.insertText("é\n😀");
  const events = await until(host, input, (all) => all.at(-1)?.[0] === TEXT && all.filter((e) => e[0] === TEXT).length > 1);
  assert.equal(typed(events), "日本é 😀");
  assert.deepEqual(keys(events).slice(-2), [4, 4]);
  await page.keyboard.press("Control+Alt+Shift+KeyT");
  await page.waitForFunction(() => document.activeElement?.id === "stage");
  await page.keyboard.press("KeyB");
  await until(host, input, (all) => keys(all).at(-1) === 5);
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

test("a button that is held when the lock of the mouse ends is released", async () => {
  const host = await play();
  await page.mouse.move(600, 400);
  await page.keyboard.press("Control+Alt+Shift+KeyM");
  await page.waitForFunction(() => document.pointerLockElement?.id === "stage");
  const before = (await until(host, input, (all) => all.at(-1)?.[0] === RELEASE_ALL)).length;
  await page.mouse.down();
  await until(host, input, (all) => all.length === before + 1);
  await page.evaluate(() => document.exitPointerLock()); // as by Escape
  const events = await until(host, input, (all) => all.length === before + 2);
  assert.deepEqual(events.slice(before).map(([kind]) => kind), [BUTTON, RELEASE_ALL]);
});

test("a button whose release the page did not see is released by the next movement", async () => {
  const host = await play();
  await page.mouse.move(600, 400);
  await page.mouse.down();
  await until(host, input, (all) => all.length === 1);
  await page.evaluate(() => {
    const swallow = (/** @type {Event} */ event) => event.stopImmediatePropagation();
    window.addEventListener("pointerup", swallow, { capture: true, once: true });
  });
  await page.mouse.up();
  await page.mouse.move(620, 400);
  const events = await until(host, input, (all) => all.length === 2);
  assert.deepEqual(events.map((event) => event.slice(0, 3)), [[BUTTON, 1, 0], [BUTTON, 0, 0]]);
});

/** Button events among those of the host, as down or up and where: fractions of the picture. @param {number[][]} events */
const clicks = (events) =>
  events
    .filter(([kind]) => kind === BUTTON)
    .map((event) => [event[1], new DataView(Uint8Array.from(event).buffer).getInt32(10) / 65535]);

test("the top of the host's screen can be clicked, and resting there brings the bar below it", async () => {
  const host = await play();
  await page.setViewportSize({ width: 1280, height: 720 });
  await page.waitForSelector("#bar", { state: "hidden" });
  for (const y of [20, 40]) {
    await page.mouse.move(640, y);
    await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
    await page.mouse.down();
    await page.mouse.up();
  }
  let events = clicks(await until(host, input, (all) => clicks(all).length === 4));
  assert.deepEqual(events.map(([down, y]) => [down, Math.floor(y * 720)]), [[1, 20], [0, 20], [1, 40], [0, 40]]);
  await callBar();
  await shot("bar");
  await page.mouse.down();
  await page.mouse.up();
  events = clicks(await until(host, input, (all) => clicks(all).length === 6));
  assert.deepEqual(events.slice(4).map(([down, y]) => [down, Math.floor(y * 720)]), [[1, 3], [0, 3]]);
  await page.waitForSelector("#bar", { state: "hidden" });
});

test("a finger opens the bar by its handle, which a mouse takes away", async () => {
  await openTab(browser, { hasTouch: true });
  await play();
  await page.touchscreen.tap(600, 400);
  await page.waitForSelector("#handle");
  await page.waitForSelector("#bar", { state: "hidden" });
  await shot("handle");
  await page.tap("#handle");
  await page.waitForFunction(() => document.activeElement?.closest("#bar"));
  await shot("handle-open");
  await page.tap("#tool-stats");
  await page.waitForSelector("#stats");
  await page.mouse.move(600, 420);
  await page.waitForSelector("#handle", { state: "hidden" });
});

/** @type {[string, () => void][]} */
const LEAVING = [
  ["the tab is hidden", () => {
    Object.defineProperty(document, "hidden", { value: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }],
  ["the focus moves in the page", () => /** @type {HTMLElement} */ (document.activeElement).blur()],
];
for (const [what, leave] of LEAVING) {
  test(`what is held when ${what} is released`, async () => {
    const host = await play();
    await page.keyboard.down("KeyW");
    await until(host, input, (all) => all.length === 1);
    await page.evaluate(leave);
    const events = await until(host, input, (all) => all.length === 2);
    assert.deepEqual(events, [[KEY, 1, 0, 26], [RELEASE_ALL]]);
  });
}

test("the chords toggle full screen and statistics", async () => {
  await play();
  await page.keyboard.press("Control+Alt+Shift+KeyF");
  await page.waitForFunction(() => document.fullscreenElement);
  await page.waitForSelector("#tool-full[aria-label='Leave full screen']", { state: "attached" });
  await page.keyboard.press("Control+Alt+Shift+KeyF");
  await page.waitForFunction(() => !document.fullscreenElement);
  await page.waitForSelector("#tool-full[aria-label='Full screen']", { state: "attached" });
  await page.keyboard.press("Control+Alt+Shift+KeyS");
  await page.waitForSelector("#stats");
  await page.keyboard.press("Control+Alt+Shift+KeyS");
  await page.waitForSelector("#stats", { state: "hidden" });
});

test("AltGr as Windows tells it is AltGr alone", async () => {
  const host = await play();
  await page.evaluate(() => {
    const press = (/** @type {string} */ code, /** @type {string} */ key) => {
      const event = new KeyboardEvent("keydown", { code, key, bubbles: true, cancelable: true });
      Object.defineProperty(event, "timeStamp", { value: 1000 });
      document.getElementById("stage")?.dispatchEvent(event);
    };
    press("ControlLeft", "Control");
    press("AltRight", "AltGraph");
  });
  const events = await until(host, input, (all) => all.length === 3);
  assert.deepEqual(events, [[KEY, 1, 0, 224], [KEY, 0, 0, 224], [KEY, 1, 0, 230]]);
});
