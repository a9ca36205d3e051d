/**
 * The bytes of the `input` data channel (docs/protocol.md 6.1, 6.2): values in, ArrayBuffer out, and the ACK back.
 * The host's side is agent/input/events.py; tests/vectors/input.json runs both.
 *
 * @typedef {{mode: "none" | "absolute" | "relative", screen: number, x: number, y: number}} Motion
 *   absolute: 0..65535 of the picture; relative: the sums of the pointer's way in 1/16 CSS pixel
 * @typedef {{kind: "key", down: boolean, usage: number}} Key
 * @typedef {{kind: "button", down: boolean, button: number, motion: Motion}} Button `button` as in MouseEvent
 * @typedef {{kind: "wheel", dx: number, dy: number}} Wheel in 1/120 notch; positive is right and down
 * @typedef {{kind: "release-all"}} ReleaseAll
 * @typedef {{kind: "text", text: string}} Text at most MAX_TEXT_BYTES in UTF-8; not empty
 * @typedef {Key | Button | Wheel | ReleaseAll | Text} InputEvent
 * @typedef {{type: "events", stamp: number, motion: Motion, first: number, events: InputEvent[]}} Events
 * @typedef {{former: number, first: number, count: number}} Carried events that were said on the former connection: the
 *   number of the first one there and here
 * @typedef {{type: "held", stamp: number, motion: Motion, last: number, buttons: number[], usages: number[]}} Held
 */

export const VERSION = 1;
const EVENTS = 1;
const HELD = 2;
const ACK = 3;
const CARRIED = 7;
export const MAX_EVENTS = 64;
export const MAX_HELD_KEYS = 32;
/** Every number of a wheel event is a signed 16 bit integer. */
export const MAX_TURN = 32767;
export const MAX_TEXT_BYTES = 64;

/** @type {Motion} */
export const NO_MOTION = Object.freeze({ mode: "none", screen: 0, x: 0, y: 0 });

const MODES = { none: 0, absolute: 1, relative: 2 };
const HEADER_BYTES = 6;
const MOTION_BYTES = 11;
const CARRIED_BYTES = 10;
const EVENT_BYTES = { key: 4, button: 3 + MOTION_BYTES, wheel: 5, "release-all": 1, text: 2 };
const utf8 = new TextEncoder();

/** @param {InputEvent} event */
function sizeOf(event) {
  return EVENT_BYTES[event.kind] + (event.kind === "text" ? utf8.encode(event.text).length : 0);
}

/** Appends big-endian numbers to a buffer of known size. */
class Writer {
  #at = 0;
  /** @param {number} size */
  constructor(size) {
    this.buffer = new ArrayBuffer(size);
    this.view = new DataView(this.buffer);
  }

  /** @param {number} value */
  u8(value) {
    this.view.setUint8(this.#at, value);
    this.#at += 1;
  }

  /** @param {number} value */
  u16(value) {
    this.view.setUint16(this.#at, value);
    this.#at += 2;
  }

  /** Signed or unsigned; the bits are the same. @param {number} value */
  u32(value) {
    this.view.setUint32(this.#at, value);
    this.#at += 4;
  }

  /** @param {number} type @param {number} stamp */
  header(type, stamp) {
    this.u8(VERSION);
    this.u8(type);
    this.u32(stamp);
  }

  /** @param {Motion} motion */
  motion(motion) {
    this.u8(MODES[motion.mode]);
    this.u8(motion.screen);
    this.u8(0);
    this.u32(motion.x);
    this.u32(motion.y);
  }

  /** @param {InputEvent} event */
  event(event) {
    switch (event.kind) {
      case "key":
        this.u8(1);
        this.u8(Number(event.down));
        return this.u16(event.usage);
      case "button":
        this.u8(2);
        this.u8(Number(event.down));
        this.u8(event.button);
        return this.motion(event.motion);
      case "wheel":
        this.u8(3);
        this.u16(event.dx);
        return this.u16(event.dy);
      case "release-all":
        return this.u8(4);
      case "text": {
        const bytes = utf8.encode(event.text);
        this.u8(5);
        this.u8(bytes.length);
        for (const byte of bytes) this.u8(byte);
      }
    }
  }
}

/**
 * @param {Events} message at most MAX_EVENTS events
 * @returns {ArrayBuffer}
 */
export function encodeEvents({ stamp, motion, first, events }) {
  const size = events.reduce((sum, event) => sum + sizeOf(event), 0);
  const writer = new Writer(HEADER_BYTES + MOTION_BYTES + 5 + size);
  writer.header(EVENTS, stamp);
  writer.motion(motion);
  writer.u32(first);
  writer.u8(events.length);
  for (const event of events) writer.event(event);
  return writer.buffer;
}

/**
 * EVENTS of a connection in another's place.
 * @param {Events & {carried: Carried}} message
 * @returns {ArrayBuffer}
 */
export function encodeCarried({ carried, ...events }) {
  const plain = new Uint8Array(encodeEvents({ ...events, type: "events" }));
  const message = new Uint8Array(plain.length + CARRIED_BYTES);
  message.set([VERSION, CARRIED]);
  message.set(plain.subarray(2), 2 + CARRIED_BYTES);
  const view = new DataView(message.buffer);
  view.setUint32(2, carried.former);
  view.setUint32(6, carried.first);
  view.setUint16(10, carried.count);
  return message.buffer;
}

/**
 * @param {Held} message at most MAX_HELD_KEYS usages
 * @returns {ArrayBuffer}
 */
export function encodeHeld({ stamp, motion, last, buttons, usages }) {
  const writer = new Writer(HEADER_BYTES + MOTION_BYTES + 6 + 2 * usages.length);
  writer.header(HELD, stamp);
  writer.motion(motion);
  writer.u32(last);
  writer.u8(buttons.reduce((bits, button) => bits | (1 << button), 0));
  writer.u8(usages.length);
  for (const usage of usages) writer.u16(usage);
  return writer.buffer;
}

/**
 * The `next` of an ACK: every event before it has been applied; null when the message is none.
 * @param {ArrayBuffer} message
 */
export function decodeAck(message) {
  const view = new DataView(message);
  if (view.byteLength !== 6 || view.getUint8(0) !== VERSION || view.getUint8(1) !== ACK) return null;
  return view.getUint32(2);
}
