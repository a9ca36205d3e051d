/** The clipboard channel: its bytes, texts in pieces, what nobody answers, and the keys that wait for a text. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { ClipboardChannel } from "../../client/clipboard-channel.js";
import { ClipboardReader, MAX_TEXT_BYTES, encodeText, encodeWant } from "../../client/clipboard.js";
import { clipboardActOf } from "../../client/input/keyboard.js";
import { cases, load, seeded } from "./vectors.js";

const vectors = load("clipboard");
const bytes = (/** @type {string} */ hex) => new Uint8Array(Buffer.from(hex, "hex")).buffer;
const hex = (/** @type {ArrayBuffer} */ buffer) => Buffer.from(buffer).toString("hex");
const utf8 = (/** @type {string} */ text) => new TextEncoder().encode(text);

for (const { name, message, hex: expected } of vectors.valid) {
  test(name, () => {
    if (message.type === "want") return assert.equal(hex(encodeWant(message.number)), expected[0]);
    if (message.from === "page") {
      return assert.deepEqual(encodeText(message.number, utf8(message.text)).map(hex), expected);
    }
    const { type, from, ...values } = message;
    assert.deepEqual(new ClipboardReader().hear(bytes(expected[0])), { kind: type, ...values });
  });
}

for (const { name, from, hex: message } of vectors.invalid) {
  if (from !== "host") continue;
  test(`${name} is none`, () => {
    const reader = new ClipboardReader();
    assert.equal(reader.hear(bytes(message)), null);
    assert.equal(reader.malformed, 1);
  });
}

test("whatever comes, it is a message or none", () => {
  const random = seeded(21);
  const corpus = [...vectors.valid, ...vectors.invalid].map((/** @type {any} */ row) => bytes([row.hex].flat()[0]));
  const reader = new ClipboardReader();
  for (let i = 0; i < cases(5000); i++) {
    const whole = new Uint8Array(corpus[Math.floor(random() * corpus.length)].slice(0));
    if (whole.length > 0) whole[Math.floor(random() * whole.length)] = Math.floor(random() * 256);
    const said = reader.hear(whole.slice(0, random() < 0.7 ? whole.length : Math.floor(random() * whole.length)).buffer);
    if (said?.kind === "text") assert.ok(said.text === null || said.text.length <= MAX_TEXT_BYTES);
  }
});

/** A data channel that a test empties. */
class FakeChannel {
  readyState = "open";
  bufferedAmount = 0;
  /** @type {ArrayBuffer[]} */
  sent = [];
  /** @type {any} */ onmessage = null;
  /** @type {any} */ onbufferedamountlow = null;

  /** @param {ArrayBuffer} message */
  send(message) {
    this.sent.push(message);
    this.bufferedAmount += message.byteLength;
  }

  drain() {
    this.bufferedAmount = 0;
    this.onbufferedamountlow?.();
  }

  /** @param {string} message */
  say(message) {
    this.onmessage?.({ data: bytes(message) });
  }
}

function opened() {
  const fake = new FakeChannel();
  return { fake, channel: new ClipboardChannel(/** @type {any} */ (fake)) };
}

test("a long text is given to the channel as it has room, lines end as on the host, and its answer is its own", async () => {
  const { fake, channel } = opened();
  const put = channel.put("a\r\nb\rc".padEnd(300_000, "é"));
  assert.ok(fake.bufferedAmount <= 64 * 1024);
  for (let before = 0; before !== fake.sent.length; ) {
    before = fake.sent.length;
    fake.drain();
  }
  fake.say("01060000000900");
  fake.say("01060000000101");
  assert.equal(await put, true);
  const reader = new TextDecoder();
  const text = fake.sent.map((message, index) => new Uint8Array(message, index === 0 ? 11 : 2));
  assert.match(reader.decode(Buffer.concat(text)), /^a\nb\ncé/);
});

test("the host's text comes once it is wanted, and what is offered is then known", async () => {
  const { fake, channel } = opened();
  let changes = 0;
  channel.onChange = () => (changes += 1);
  fake.say("010103");
  fake.say("010201");
  assert.deepEqual([channel.ways, channel.offered, changes, fake.sent.length], [3, true, 2, 0]);
  const take = channel.take();
  assert.equal(hex(fake.sent[0]), "010300000001");
  fake.say("0104000000010100000002" + "6869");
  assert.equal(await take, "hi");
  assert.equal(channel.offered, false);
});

test("what is too long, not answered or cut off by the end is not there", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const { fake, channel } = opened();
  assert.equal(await channel.put("é".repeat(MAX_TEXT_BYTES / 2 + 1)), false);
  assert.equal(fake.sent.length, 0);
  const silent = channel.put("x");
  mock.timers.tick(10_000);
  assert.equal(await silent, false);
  const cut = channel.take();
  channel.close();
  channel.close();
  assert.equal(await cut, null);
  fake.readyState = "closed";
  assert.deepEqual([await channel.take(), await channel.put("x")], [null, false]);
  mock.timers.reset();
});

test("which keys paste and copy", () => {
  const none = { ctrlKey: false, altKey: false, shiftKey: false, metaKey: false };
  const act = (/** @type {string} */ key, /** @type {string} */ code, more = {}) => clipboardActOf({ key, code, ...none, ...more });
  assert.equal(act("v", "KeyV", { ctrlKey: true }), "paste");
  assert.equal(act("V", "KeyV", { ctrlKey: true, shiftKey: true }), "paste"); // of terminals
  assert.equal(act("v", "KeyV", { metaKey: true }), "paste");
  assert.equal(act("Insert", "Insert", { shiftKey: true }), "paste");
  assert.equal(act("Insert", "Insert", { ctrlKey: true }), "copy");
  assert.equal(act("c", "KeyC", { ctrlKey: true }), "copy");
  assert.equal(act("x", "KeyX", { metaKey: true }), "copy");
  for (const more of [{}, { ctrlKey: true, altKey: true }, { ctrlKey: true, metaKey: true }]) {
    assert.equal(act("v", "KeyV", more), undefined);
  }
});
