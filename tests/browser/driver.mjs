// Drives one real browser for the Python tests: a JSON command a line on stdin, its result a line on stdout.
// usage: node driver.mjs chromium|firefox; with HIDE_ADDRESSES its ICE candidates are mDNS names, as a user's are
import { createInterface } from "node:readline";
import { CHROMIUM, CHROMIUM_FLAGS } from "./chromium.mjs";

async function launchChromium() {
  const { chromium } = await import("playwright-core");
  const args = CHROMIUM_FLAGS.filter((flag) => !process.env.HIDE_ADDRESSES || !flag.includes("WebRtcHideLocalIps"));
  const browser = await chromium.launch({ executablePath: CHROMIUM, args });
  return {
    close: () => browser.close(),
    open: async ({ width, height, ignoreCertificate, permissions }) => {
      const context = await browser.newContext({
        viewport: { width, height },
        ignoreHTTPSErrors: Boolean(ignoreCertificate),
        permissions,
      });
      return context.newPage();
    },
    shut: (page) => page.context().close(),
  };
}

async function launchFirefox() {
  const puppeteer = (await import("puppeteer-core")).default;
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: process.env.FIREFOX ?? "/usr/bin/firefox-esr",
    extraPrefsFirefox: {
      "media.peerconnection.ice.loopback": true,
      "media.peerconnection.ice.obfuscate_host_addresses": false,
      "media.autoplay.default": 0,
    },
  });
  return {
    close: () => browser.close(),
    open: async ({ width, height }) => {
      const page = await browser.newPage();
      await page.setViewport({ width, height });
      return page;
    },
    shut: (page) => page.close(),
  };
}

const browser = await (process.argv[2] === "firefox" ? launchFirefox() : launchChromium());
/** @type {Map<number, {page: any, messages: string[]}>} */
const pages = new Map();
let nextPage = 1;

const commands = {
  async open({ url, ...options }) {
    const page = await browser.open(options);
    const messages = [];
    page.on("console", (message) => messages.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => messages.push(`uncaught: ${error.message}`));
    const load = () => page.goto(url, { waitUntil: "load" });
    const changed = (text) => text.includes("ERR_NETWORK_CHANGED");
    // Another test's cable came or went: the browser gives up what it is loading, and its user loads it again.
    const given = await load().then(
      () => messages.some(changed),
      (error) => changed(String(error)) || Promise.reject(error),
    );
    if (given) {
      messages.length = 0;
      await page.goto("about:blank");
      await load();
    }
    pages.set(nextPage, { page, messages });
    return nextPage++;
  },
  async goto({ page, url }) {
    await pages.get(page).page.goto(url, { waitUntil: "load" });
  },
  async reload({ page }) {
    await pages.get(page).page.reload({ waitUntil: "load" });
  },
  async shut({ page }) {
    await browser.shut(pages.get(page).page);
    pages.delete(page);
  },
  evaluate: ({ page, expression }) => pages.get(page).page.evaluate(expression),
  click: ({ page, selector }) => pages.get(page).page.click(selector),
  // As hands do it on a US keyboard: the driver's own `type` would give "A" without pressing Shift.
  type: async ({ page, text }) => {
    const { keyboard } = pages.get(page).page;
    for (const character of text) {
      const shifted = /[A-Z~!@#$%^&*()_+{}|:"<>?]/.test(character);
      if (shifted) await keyboard.down("Shift");
      await keyboard.press(character);
      if (shifted) await keyboard.up("Shift");
    }
  },
  key: ({ page, key, down }) => pages.get(page).page.keyboard[down ? "down" : "up"](key),
  move: ({ page, x, y }) => pages.get(page).page.mouse.move(x, y),
  button: ({ page, button, down }) => pages.get(page).page.mouse[down ? "down" : "up"]({ button }),
  wheel: ({ page, dx, dy }) => {
    const { mouse } = pages.get(page).page;
    return process.argv[2] === "firefox" ? mouse.wheel({ deltaX: dx, deltaY: dy }) : mouse.wheel(dx, dy);
  },
  screenshot: async ({ page, path }) => {
    await pages.get(page).page.screenshot({ path });
  },
  console: async ({ page }) => pages.get(page).messages,
};

const lines = createInterface({ input: process.stdin });
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
for await (const line of lines) {
  const { command, ...parameters } = JSON.parse(line);
  let reply;
  try {
    reply = { result: (await commands[command](parameters)) ?? null };
  } catch (error) {
    reply = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
await browser.close();
