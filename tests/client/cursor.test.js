/** The host's pointer: its bytes, pieces, damage, and pixels that are as many as they should be. */
import assert from "node:assert/strict";
import { deflateSync } from "node:zlib";
import { test } from "node:test";
import { CursorReader, MAX_SIDE, pixelsOf } from "../../client/cursor.js";
import { cases, load, seeded } from "./vectors.js";

const vectors = load("cursor");
const bytes = (/** @type {string} */ hex) => new Uint8Array(Buffer.from(hex, "hex")).buffer;
const byName = (/** @type {string} */ name) => vectors.valid.find((/** @type {any} */ row) => row.name === name).hex;
const SHAPE = byName("a shape of two by two pixels in slot 0");
const SHOWN = byName("it is shown to a page that controls");

for (const { name, message, hex } of vectors.valid) {
  test(name, async () => {
    const reader = new CursorReader();
    const slot = message.slot ?? 0;
    if (message.type === "state" && message.look === "shown") reader.hear(bytes(SHAPE));
    assert.ok(reader.hear(bytes(hex)));
    if (message.type === "shape") {
      reader.hear(bytes(SHOWN.slice(0, 6) + slot.toString(16).padStart(2, "0") + SHOWN.slice(8)));
      const { shape } = reader;
      assert.ok(shape);
      assert.deepEqual([shape.width, shape.height, shape.hotX, shape.hotY], [...message.size, ...message.hot]);
      assert.equal(Buffer.from((await pixelsOf(shape)) ?? []).toString("hex"), message.pixels);
    } else if (message.type === "state") {
      assert.deepEqual([reader.look, reader.apart], [message.look, message.apart]);
      assert.deepEqual(Object.values(reader.screen), message.screen);
      assert.equal(reader.shape !== null, message.look === "shown");
    } else {
      assert.ok(reader.place);
      const [x, y] = message.at;
      assert.ok(Math.abs(reader.place.x * 1280 - x) < 0.02 && Math.abs(reader.place.y * 720 - y) < 0.02);
    }
  });
}

for (const { name, hex } of vectors.invalid) {
  test(`${name} is none`, () => {
    const reader = new CursorReader();
    assert.equal(reader.hear(bytes(hex)), false);
    assert.equal(reader.malformed, 1);
    assert.deepEqual([reader.look, reader.shape, reader.place], ["unknown", null, null]);
  });
}

/** @param {number} slot @param {Uint8Array} deflated @param {number} side */
function shapeInPieces(slot, deflated, side) {
  const head = Buffer.alloc(15);
  head.set([1, 1, slot]);
  [side, side, 0, 0].forEach((value, index) => head.writeUInt16BE(value, 3 + 2 * index));
  head.writeUInt32BE(deflated.length, 11);
  const parts = [];
  for (let at = 0; at < deflated.length; at += 8192) {
    const start = at === 0 ? head : Buffer.from([1, 2]);
    parts.push(new Uint8Array(Buffer.concat([start, deflated.subarray(at, at + 8192)])).buffer);
  }
  return parts;
}

const noise = () => {
  const random = seeded(3);
  return Uint8Array.from({ length: 4 * MAX_SIDE * MAX_SIDE }, () => Math.floor(random() * 256));
};

test("the largest shape comes in pieces; one that is given up leaves nothing, and the piece after it is none", async () => {
  const reader = new CursorReader();
  const pixels = noise();
  const parts = shapeInPieces(0, deflateSync(pixels), MAX_SIDE);
  assert.ok(parts.length > 30);
  for (const part of parts.slice(0, -1)) assert.ok(reader.hear(part));
  assert.equal(reader.hear(bytes(SHOWN)), false); // not whole yet
  assert.ok(reader.hear(bytes(SHAPE)));
  assert.equal(reader.hear(/** @type {ArrayBuffer} */ (parts.at(-1))), false);
  for (const part of parts) assert.ok(reader.hear(part));
  assert.ok(reader.hear(bytes(SHOWN)));
  assert.deepEqual(reader.shape && (await pixelsOf(reader.shape)), new Uint8ClampedArray(pixels));
});

test("what is too much, too little or no zlib has no pixels", async () => {
  const shape = { width: 2, height: 2, hotX: 0, hotY: 0 };
  for (const wrong of [deflateSync(Buffer.alloc(15)), deflateSync(Buffer.alloc(50_000_000)), Buffer.from("no zlib at all")]) {
    assert.equal(await pixelsOf({ ...shape, deflated: new Uint8Array(wrong) }), null);
  }
  const cut = deflateSync(Buffer.alloc(16)).subarray(0, 6);
  assert.equal(await pixelsOf({ ...shape, deflated: new Uint8Array(cut) }), null);
});

test("whatever comes, what is kept is bounded and is drawn or not", () => {
  const random = seeded(11);
  const corpus = [...vectors.valid, ...vectors.invalid].map((/** @type {any} */ { hex }) => new Uint8Array(bytes(hex)));
  const reader = new CursorReader();
  for (let i = 0; i < cases(5000); i++) {
    const whole = corpus[Math.floor(random() * corpus.length)].slice();
    for (let change = random() * 3; change >= 1 && whole.length > 0; change--) {
      whole[Math.floor(random() * whole.length)] = Math.floor(random() * 256);
    }
    reader.hear(whole.slice(0, random() < 0.7 ? whole.length : Math.floor(random() * whole.length)).buffer);
    const { shape, look, screen } = reader;
    if (shape) {
      assert.equal(look, "shown");
      assert.ok(screen.width > 0 && shape.width <= MAX_SIDE && shape.hotX < shape.width && shape.hotY < shape.height);
    }
  }
});
