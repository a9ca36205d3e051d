/**
 * The bytes of the `clipboard` data channel (docs/protocol.md 6.7): ArrayBuffer in, values out, and back. The host's side
 * is agent/clipboard/wire.py; tests/vectors/clipboard.json runs both.
 *
 * @typedef {{kind: "policy", ways: number}} PolicySaid `ways` of TO_HOST and TO_CLIENT
 * @typedef {{kind: "offer", text: boolean}} Offer
 * @typedef {{kind: "text", number: number, text: string | null}} Text null: the host has none for us
 * @typedef {{kind: "taken", number: number, taken: boolean}} Taken
 */

const VERSION = 1;
const POLICY = 1;
const OFFER = 2;
const WANT = 3;
const TEXT = 4;
const PIECE = 5;
const TAKEN = 6;
const TEXT_HEAD = 11;
const PIECE_HEAD = 2;
const PIECE_BYTES = 8192;
export const MAX_TEXT_BYTES = 1 << 20;
export const TO_HOST = 1;
export const TO_CLIENT = 2;

/** @param {number} number */
export function encodeWant(number) {
  const view = new DataView(new ArrayBuffer(6));
  view.setUint8(0, VERSION);
  view.setUint8(1, WANT);
  view.setUint32(2, number);
  return view.buffer;
}

/** TEXT and its PIECEs. @param {number} number @param {Uint8Array} utf8 at most MAX_TEXT_BYTES */
export function encodeText(number, utf8) {
  const head = new DataView(new ArrayBuffer(TEXT_HEAD));
  head.setUint8(0, VERSION);
  head.setUint8(1, TEXT);
  head.setUint32(2, number);
  head.setUint8(6, 1);
  head.setUint32(7, utf8.length);
  const messages = [joined(new Uint8Array(head.buffer), utf8.subarray(0, PIECE_BYTES))];
  for (let at = PIECE_BYTES; at < utf8.length; at += PIECE_BYTES) {
    messages.push(joined(Uint8Array.of(VERSION, PIECE), utf8.subarray(at, at + PIECE_BYTES)));
  }
  return messages;
}

/** @param {Uint8Array} head @param {Uint8Array} bytes */
function joined(head, bytes) {
  const message = new Uint8Array(head.length + bytes.length);
  message.set(head);
  message.set(bytes, head.length);
  return message.buffer;
}

/** Puts the host's messages together; keeps one text that is not whole yet. */
export class ClipboardReader {
  /** How many messages were none. */
  malformed = 0;
  /** @type {{number: number, bytes: Uint8Array, at: number} | null} */
  #coming = null;

  /** @param {ArrayBuffer} message @returns {PolicySaid | Offer | Text | Taken | null} null: it is none, or a text goes on */
  hear(message) {
    const view = new DataView(message);
    const size = view.byteLength;
    const type = size >= 2 && view.getUint8(0) === VERSION ? view.getUint8(1) : 0;
    if (type === POLICY && size === 3 && view.getUint8(2) <= 3) return { kind: "policy", ways: view.getUint8(2) };
    if (type === OFFER && size === 3 && view.getUint8(2) <= 1) return { kind: "offer", text: view.getUint8(2) === 1 };
    if (type === TAKEN && size === 7 && view.getUint8(6) <= 1) {
      return { kind: "taken", number: view.getUint32(2), taken: view.getUint8(6) === 1 };
    }
    if (type === TEXT && size >= TEXT_HEAD) return this.#begin(view);
    if (type === PIECE && size > PIECE_HEAD) return this.#take(new Uint8Array(message, PIECE_HEAD));
    return this.#none();
  }

  #none() {
    this.#coming = null;
    this.malformed += 1;
    return null;
  }

  /** @param {DataView} view */
  #begin(view) {
    const number = view.getUint32(2);
    const there = view.getUint8(6);
    const size = view.getUint32(7);
    const more = view.byteLength > TEXT_HEAD;
    if (there > 1 || size > MAX_TEXT_BYTES || more !== size > 0 || (there === 0 && more)) return this.#none();
    if (there === 0) return /** @type {Text} */ ({ kind: "text", number, text: null });
    this.#coming = { number, bytes: new Uint8Array(size), at: 0 };
    return this.#take(new Uint8Array(view.buffer, TEXT_HEAD));
  }

  /** @param {Uint8Array} piece @returns {Text | null} */
  #take(piece) {
    const coming = this.#coming;
    if (!coming || coming.at + piece.length > coming.bytes.length) return this.#none();
    coming.bytes.set(piece, coming.at);
    coming.at += piece.length;
    if (coming.at < coming.bytes.length) return null;
    this.#coming = null;
    try {
      const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(coming.bytes);
      return { kind: "text", number: coming.number, text };
    } catch {
      return this.#none(); // no UTF-8
    }
  }
}
