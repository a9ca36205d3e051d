/** The page in a real browser, against a stub node and a host in a second tab; every state is looked at. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { callBar, heard, hostTab, node, page, play, shot, state, until, words } from "./tab.js";

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
  await heard(({ type, session }) => type === "hello" && session === "session1");
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
  const kinds = await page.evaluate(() =>
    ["screen", "sound"].map((id) => {
      const stream = /** @type {MediaStream} */ (/** @type {any} */ (document.getElementById(id)).srcObject);
      return stream.getTracks().map(({ kind }) => kind);
    }),
  );
  assert.deepEqual(kinds, [["video"], ["audio"]]); // apart, so that neither waits for the other
  const [offer] = await host.evaluate(() => /** @type {any} */ (window).offers);
  assert.match(offer, /m=video[^]*a=recvonly[^]*m=audio[^]*a=recvonly[^]*m=application/);
  assert.match(offer, /stereo=1/);
  const video = offer.slice(offer.indexOf("m=video"), offer.indexOf("m=audio"));
  const [first] = video.match(/a=rtpmap:\d+ (\w+)/);
  assert.match(first, /H264|VP8/);
  assert.doesNotMatch(video, /packetization-mode=0|AV1/);
  await callBar();
  await shot("playing");
  await page.click("#tool-stats");
  await page.waitForFunction(() => /x264/.test(document.getElementById("stats")?.textContent ?? ""));
  await page.waitForFunction(() => /fps/.test(document.querySelector("#stats dd")?.textContent ?? ""));
  await shot("overlay");
});

test("when only signaling drops the picture goes on, and the page comes back by itself", async () => {
  await play();
  node.refuseSockets = true;
  node.page?.terminate();
  await page.waitForSelector("#notice >> text=The server cannot be reached.");
  await shot("signaling-lost");
  assert.equal(await page.evaluate(() => document.body.dataset.state), "playing");
  node.refuseSockets = false;
  await page.waitForSelector("#notice", { state: "hidden" });
  assert.equal(node.heard.filter(({ type }) => type === "hello").at(-1).resume, "resume1");
  assert.equal(await page.evaluate(() => document.body.dataset.state), "playing");
});

test("a lost connection is told and comes back", async () => {
  const host = await play();
  await host.evaluate(() => {
    const here = /** @type {any} */ (window);
    here.deaf = 1; // no second connection takes the place of the first
    here.vanish();
  });
  const lost = await page.waitForFunction(() => {
    if (document.body.dataset.state !== "lost") return null;
    const last = /** @type {HTMLCanvasElement} */ (document.getElementById("last"));
    const [, , blue] = last.getContext("2d")?.getImageData(last.width / 2, last.height / 10, 1, 1).data ?? [];
    return { said: document.getElementById("status")?.textContent, display: getComputedStyle(last).display, blue };
  });
  const { said, display, blue } = await lost.jsonValue();
  assert.match(said, /^Connection lost, reconnecting in \d+ seconds?\.$/);
  assert.equal(display, "block");
  assert.ok(blue > 64, `expected the last picture's sky, got blue ${blue}`);
  await shot("lost");
  await state("playing");
});

for (const [name, end] of /** @type {const} */ ([
  ["the connection ends", () => /** @type {any} */ (window).vanish()],
  ["only the input channel closes", () => /** @type {any} */ (window).inputChannel.close()],
])) {
  test(`when ${name} another one takes its place while the last picture stays`, async () => {
    const host = await play();
    const states = await page.evaluateHandle(() => {
      /** @type {(string | undefined)[]} */
      const seen = [];
      new MutationObserver(() => seen.push(document.body.dataset.state)).observe(document.body, {
        attributeFilter: ["data-state"],
      });
      return seen;
    });
    await host.evaluate(() => Object.assign(window, { former: /** @type {any} */ (window).inputChannel }));
    await host.evaluate(end);
    const moved = () => {
      const { inputChannel, former } = /** @type {any} */ (window);
      return inputChannel !== former && inputChannel.readyState === "open";
    };
    await until(host, moved, Boolean);
    await page.keyboard.press("KeyA");
    await until(host, () => /** @type {any} */ (window).input, (all) => all.length >= 2);
    await page.waitForFunction(() => document.body.dataset.held === undefined);
    assert.ok((await states.jsonValue()).every((state) => state === "playing"));
  });
}

for (const side of /** @type {const} */ (["host", "page"])) {
  test(`the ${side}'s candidates alone lead to a connection, the host's though they come before its answer`, async () => {
    await play(side);
  });
}

test("what the page waits for can be cancelled", async () => {
  await page.goto(`${node.url}/#room=desk`);
  await page.click("#connect");
  await state("waiting");
  await page.click("#cancel");
  await state("idle");
  await heard(({ type, reason }) => type === "bye" && reason === "left");
});

test("another link in the same tab is another room", async () => {
  await page.goto(`${node.url}/#room=desk`);
  await page.click("#connect");
  await state("waiting");
  await page.evaluate(() => (location.hash = "#room=studio&token=abcdefghijklmnopqrstuv"));
  await state("idle");
  await heard(({ type, reason }) => type === "bye" && reason === "another link");
  assert.equal(await page.textContent("#room-name"), "studio");
  await page.click("#connect");
  await heard(({ room, token }) => room === "studio" && token === "abcdefghijklmnopqrstuv");
});

test("when the host says goodbye nothing retries until the user wants to", async () => {
  await play();
  node.hostLeaves("bye");
  await state("ended");
  assert.equal(await words(), "The host ended the session.");
  await shot("ended");
  const count = node.heard.length;
  await page.waitForTimeout(1500); // longer than the first back-off
  assert.equal(node.heard.length, count);
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
  await page.waitForSelector("#status >> text=The display is asleep. Trying again in");
  await shot("busy");
  await state("playing");
});

test("ending the session and closing the page say goodbye", async () => {
  await play();
  await callBar();
  await page.click("#tool-leave");
  await state("idle");
  await heard(({ type, reason }) => type === "bye" && reason === "left");
  await page.click("#connect");
  await state("playing");
  await page.close();
  await heard(({ type, reason }) => type === "bye" && reason === "page closed");
});

test("on a phone everything fits", async () => {
  await page.setViewportSize({ width: 375, height: 667 });
  await page.goto(`${node.url}/#room=living-room`);
  await shot("phone-idle");
  await hostTab();
  node.hostIsThere = true;
  await page.click("#connect");
  await state("playing");
  await callBar();
  await shot("phone-playing");
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  assert.ok(!wide);
});
