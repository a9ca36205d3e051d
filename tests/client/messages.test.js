/** The message codec against the shared vectors and against damaged frames. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MessageError, encode, parse } from "../../client/messages.js";
import { cases, load, seeded } from "./vectors.js";

const vectors = load("messages");

for (const { name, message } of vectors.valid) {
  test(`valid: ${name}`, () => {
    assert.deepEqual(parse(JSON.stringify(message)), message);
    assert.deepEqual(parse(encode(parse(JSON.stringify(message)))), message);
  });
}

for (const { name, text, message } of vectors.tolerated) {
  test(`tolerated: ${name}`, () => assert.deepEqual(parse(text), message));
}

for (const { name, text } of vectors.invalid) {
  test(`invalid: ${name}`, () => assert.throws(() => parse(text), MessageError));
}

test("damaged frames are refused in words or understood, never anything else", () => {
  const random = seeded(1);
  const pick = (/** @type {any} */ list) => list[Math.floor(random() * list.length)];
  for (let i = 0; i < cases(5000); i++) {
    let text = JSON.stringify(pick(vectors.valid).message);
    for (let damage = 0; damage < 1 + random() * 3; damage++) {
      const at = Math.floor(random() * text.length);
      const bite = Math.floor(random() * 6);
      text = text.slice(0, at) + pick(["", "null", "-1", '"', "{", "]", "1e99", "é"]) + text.slice(at + bite);
    }
    try {
      const message = parse(text);
      assert.deepEqual(parse(encode(message)), message);
    } catch (error) {
      assert.ok(error instanceof MessageError, `${text}: ${error}`);
    }
  }
});
