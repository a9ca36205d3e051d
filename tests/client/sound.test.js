/** The sound in a browser that wants a gesture of the user first, as after a reload. */
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { CHROMIUM, CHROMIUM_FLAGS } from "../browser/chromium.mjs";
import { hostTab, node, openTab, page } from "./tab.js";

/** @type {import("playwright-core").Browser} */
let strict;
before(async () => {
  const flags = CHROMIUM_FLAGS.filter((flag) => !flag.startsWith("--autoplay-policy"));
  const args = [...flags, "--autoplay-policy=document-user-activation-required", "--mute-audio"];
  strict = await chromium.launch({ executablePath: CHROMIUM, args });
});
after(() => strict.close());

/** The page says this by itself: to be asked would count as a gesture. */
function tell() {
  if (location.pathname !== "/") return;
  localStorage.setItem("tightbeam.session.desk", JSON.stringify({ session: "s", at: Date.now() }));
  const told = () => {
    const [audio, bar, button, notice] = ["sound", "bar", "tool-sound", "notice"].map((id) => document.getElementById(id));
    if (!(audio instanceof HTMLAudioElement && bar && button && notice)) return;
    const { x, y, width, height } = button.getBoundingClientRect();
    const barShown = bar.classList.contains("shown") && getComputedStyle(bar).transform === "none";
    const { paused, muted } = audio;
    const said = notice.hidden ? null : notice.textContent;
    console.log(JSON.stringify({ paused, muted, said, label: button.title, barShown, at: [x + width / 2, y + height / 2] }));
  };
  setInterval(told, 50);
}

/** Waits until the page tells that. @param {(told: any) => boolean} condition @returns {Promise<any>} */
async function told(condition) {
  const parsed = (/** @type {string} */ text) => (text.startsWith("{") ? JSON.parse(text) : {});
  const message = await page.waitForEvent("console", (event) => condition(parsed(event.text())));
  return parsed(message.text());
}

/** A session that began without a click. @param {import("playwright-core").BrowserContextOptions} [options] */
async function reloaded(options) {
  await openTab(strict, options);
  await hostTab();
  node.hostIsThere = true;
  await page.addInitScript(tell);
  await page.goto(`${node.url}/#room=desk`);
  await page.reload();
  await told(({ said, paused, label }) => /to hear the sound/.test(said) && paused && label === "Turn the sound on");
}

const heard = () =>
  told(({ paused, muted, said, label }) => !paused && !muted && label === "Turn the sound off" && said === null);

test("a tap starts the sound that the browser held back", async () => {
  await reloaded({ hasTouch: true });
  await page.touchscreen.tap(600, 400);
  await heard();
});

test("a key starts the sound that the browser held back", async () => {
  await reloaded();
  await page.keyboard.press("Escape"); // no gesture to a browser: the next key still has to do
  await page.keyboard.press("KeyA");
  await heard();
});

test("the sound's button turns on what the browser held back, then off and on", async () => {
  await reloaded();
  await page.mouse.move(640, 3);
  const { at } = await told(({ barShown }) => barShown);
  await page.mouse.click(at[0], at[1]);
  await heard();
  await page.mouse.click(at[0], at[1]);
  await told(({ paused, muted, label }) => !paused && muted && label === "Turn the sound on");
  await page.mouse.click(at[0], at[1]);
  await heard();
});
