/** The messages of the `desk` channel, as the host says and understands them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DeskChannel, decode, encodeWish } from "../../client/desk.js";
import { load } from "./vectors.js";

const bytes = (/** @type {string} */ hex) => new Uint8Array(Buffer.from(hex, "hex")).buffer;
const hexOf = (/** @type {ArrayBuffer} */ buffer) => Buffer.from(buffer).toString("hex");
const { valid, invalid } = load("desk");

for (const { name, message, hex } of valid) {
  test(name, () => {
    if (message.number) assert.equal(hexOf(encodeWish(message.number, { end: message.type === "end" })), hex);
    else assert.deepEqual(decode(bytes(hex)), message);
  });
}

for (const { name, hex } of invalid.filter((/** @type {any} */ vector) => vector.from === "host")) {
  test(`${name} is no message`, () => assert.equal(decode(bytes(hex)), null));
}

test("a choice of a kind that this page does not know is passed over", () => {
  const one = "0001010005000 2d00141".replaceAll(" ", "");
  const desk = decode(bytes(`0101010102${"0007c80005000 2d00142".replaceAll(" ", "")}${one}`));
  assert.deepEqual(desk?.type === "desk" && desk.choices.map(({ name }) => name), ["A"]);
});

test("motion is meant for what the newest message says is shown", () => {
  const channel = /** @type {any} */ ({ readyState: "open", sent: [], send: (/** @type {any} */ m) => channel.sent.push(m) });
  const input = { screen: 0 };
  const desk = new DeskChannel(channel, input);
  /** @type {any[]} */
  const heard = [];
  desk.onMessage = (message) => heard.push(message);
  channel.onmessage({ data: bytes(valid[0].hex) });
  const said = valid.find((/** @type {any} */ { message }) => message.type === "said");
  channel.onmessage({ data: bytes(said.hex) });
  channel.onmessage({ data: bytes("0101") });
  channel.onmessage({ data: "text" });
  assert.deepEqual([input.screen, heard.length, desk.malformed], [2, 2, 2]);
  desk.wish(1);
  channel.readyState = "closed";
  desk.wish(2);
  assert.deepEqual(channel.sent.map(hexOf), ["01030001"]);
});
