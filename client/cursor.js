/**
 * The host's mouse pointer as the `cursor` data channel tells it (docs/protocol.md 6.5): ArrayBuffer in, what is to be
 * drawn out. The host's side is agent/cursor/wire.py; tests/vectors/cursor.json runs both. One reader lives as long as
 * one channel.
 *
 * @typedef {{width: number, height: number, hotX: number, hotY: number, deflated: Uint8Array<ArrayBuffer>}} Shape
 *   `deflated`: RGBA, rows from the top, by zlib (RFC 1950)
 * @typedef {"unknown" | "hidden" | "shown"} Look
 */

const VERSION = 1;
const SHAPE = 1;
const PIECE = 2;
const STATE = 3;
const PLACE = 4;
const SHAPE_HEAD = 15;
const PIECE_HEAD = 2;
const STATE_BYTES = 9;
const PLACE_BYTES = 6;
export const MAX_SIDE = 256;
const SLOTS = 32;
/** What zlib can make of the largest shape at most: stored blocks with their heads. */
const MAX_DEFLATED = 4 * MAX_SIDE * MAX_SIDE + 1024;
/** @type {readonly Look[]} */
const LOOKS = ["unknown", "hidden", "shown"];

export class CursorReader {
  /** @type {Look} */
  look = "unknown";
  /** Whether the host draws at places of its own: this page's pointer is not the host's. */
  apart = false;
  /** Of the host's screen in its pixels. */
  screen = { width: 0, height: 0 };
  /** Of the hot spot, 0..1 of the screen; null: the host has not told. @type {{x: number, y: number} | null} */
  place = null;
  /** How many messages were none. */
  malformed = 0;
  #slot = 255;
  /** @type {Map<number, Shape>} */
  #shapes = new Map();
  /** The shape that is coming: what is missing begins at `at`. @type {{slot: number, shape: Shape, at: number} | null} */
  #coming = null;

  /** What the pointer looks like, if it is to be drawn. */
  get shape() {
    return this.look === "shown" ? (this.#shapes.get(this.#slot) ?? null) : null;
  }

  /** @param {ArrayBuffer} message @returns {boolean} whether it was one */
  hear(message) {
    const view = new DataView(message);
    const read =
      view.byteLength >= 2 && view.getUint8(0) === VERSION
        ? { [SHAPE]: this.#begin, [PIECE]: this.#goOn, [STATE]: this.#become, [PLACE]: this.#move }[view.getUint8(1)]
        : undefined;
    const good = read?.call(this, view) ?? false;
    if (!good) this.malformed += 1;
    return good;
  }

  /** @param {DataView} view */
  #begin(view) {
    this.#coming = null; // of a shape that the host gave up for a newer one
    if (view.byteLength <= SHAPE_HEAD) return false;
    const slot = view.getUint8(2);
    const [width, height, hotX, hotY] = [3, 5, 7, 9].map((at) => view.getUint16(at));
    const size = view.getUint32(11);
    const small = Math.min(width, height) > 0 && Math.max(width, height) <= MAX_SIDE;
    if (slot >= SLOTS || !small || hotX >= width || hotY >= height || size === 0 || size > MAX_DEFLATED) return false;
    this.#shapes.delete(slot);
    const shape = { width, height, hotX, hotY, deflated: new Uint8Array(size) };
    this.#coming = { slot, shape, at: 0 };
    return this.#take(view, SHAPE_HEAD);
  }

  /** @param {DataView} view */
  #goOn(view) {
    return this.#coming !== null && view.byteLength > PIECE_HEAD && this.#take(view, PIECE_HEAD);
  }

  /** @param {DataView} view @param {number} head */
  #take(view, head) {
    const coming = this.#coming;
    const bytes = new Uint8Array(view.buffer, head);
    if (!coming || coming.at + bytes.length > coming.shape.deflated.length) {
      this.#coming = null;
      return false;
    }
    coming.shape.deflated.set(bytes, coming.at);
    coming.at += bytes.length;
    if (coming.at === coming.shape.deflated.length) {
      this.#shapes.set(coming.slot, coming.shape);
      this.#coming = null;
    }
    return true;
  }

  /** @param {DataView} view */
  #become(view) {
    if (view.byteLength !== STATE_BYTES) return false;
    const look = LOOKS[view.getUint8(2)];
    const slot = view.getUint8(3);
    const screen = { width: view.getUint16(5), height: view.getUint16(7) };
    if (look === undefined || view.getUint8(4) > 1) return false;
    if (look === "shown" && !(this.#shapes.has(slot) && screen.width > 0 && screen.height > 0)) return false;
    this.look = look;
    this.#slot = slot;
    this.apart = view.getUint8(4) === 1;
    this.screen = screen;
    return true;
  }

  /** @param {DataView} view */
  #move(view) {
    if (view.byteLength !== PLACE_BYTES) return false;
    this.place = { x: view.getUint16(2) / 65535, y: view.getUint16(4) / 65535 };
    return true;
  }
}

/**
 * The pixels of a shape, RGBA; null: they are not as many as its size says, or not zlib's.
 * @param {Shape} shape
 * @returns {Promise<Uint8ClampedArray<ArrayBuffer> | null>}
 */
export async function pixelsOf({ width, height, deflated }) {
  const pixels = new Uint8ClampedArray(4 * width * height);
  const reader = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  let at = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return at === pixels.length ? pixels : null;
      if (at + value.length > pixels.length) return null;
      pixels.set(value, at);
      at += value.length;
    }
  } catch {
    return null; // what zlib makes nothing of
  } finally {
    reader.cancel().catch(() => {});
  }
}
