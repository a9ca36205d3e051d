/**
 * The bytes of gamepads on the `input` data channel (docs/protocol.md 6.1, 6.2): values in, ArrayBuffer out, and back.
 * The host's side is agent/input/pad_events.py; tests/vectors/pads.json runs both.
 *
 * @typedef {{buttons: number, leftTrigger: number, rightTrigger: number, leftX: number, leftY: number,
 *   rightX: number, rightY: number}} PadState `buttons`: bit n is button n of the standard gamepad; triggers 0..255,
 *   axes -32768..32767
 * @typedef {{pad: number, state: PadState}} PadChange
 * @typedef {{stamp: number, first: number, changes: PadChange[], newest: PadChange[]}} PadsMessage
 * @typedef {{stamp: number, pad: number, strong: number, weak: number}} Rumble magnitudes 0..65535
 */
import { VERSION } from "./encode.js";

const PADS = 4;
const PADS_ACK = 5;
const RUMBLE = 6;
export const MAX_PADS = 4;
export const MAX_CHANGES = 32;
const HEAD_BYTES = 11;
const ENTRY_BYTES = 15;

/** @type {PadState} */
export const NEUTRAL = Object.freeze({
  buttons: 0,
  leftTrigger: 0,
  rightTrigger: 0,
  leftX: 0,
  leftY: 0,
  rightX: 0,
  rightY: 0,
});

/** @param {DataView} view @param {number} at @param {PadChange} entry @returns {number} where the next one goes */
function put(view, at, { pad, state }) {
  view.setUint8(at, pad);
  view.setUint32(at + 1, state.buttons);
  view.setUint8(at + 5, state.leftTrigger);
  view.setUint8(at + 6, state.rightTrigger);
  view.setInt16(at + 7, state.leftX);
  view.setInt16(at + 9, state.leftY);
  view.setInt16(at + 11, state.rightX);
  view.setInt16(at + 13, state.rightY);
  return at + ENTRY_BYTES;
}

/** @param {PadsMessage} message at most MAX_CHANGES changes and MAX_PADS newest, those in rising order */
export function encodePads({ stamp, first, changes, newest }) {
  const size = HEAD_BYTES + 1 + ENTRY_BYTES * (changes.length + newest.length);
  const view = new DataView(new ArrayBuffer(size));
  view.setUint8(0, VERSION);
  view.setUint8(1, PADS);
  view.setUint32(2, stamp);
  view.setUint32(6, first);
  view.setUint8(10, changes.length);
  let at = HEAD_BYTES;
  for (const change of changes) at = put(view, at, change);
  view.setUint8(at, newest.length);
  at += 1;
  for (const entry of newest) at = put(view, at, entry);
  return view.buffer;
}

/** The `next` of a PADS_ACK: every change before it has been applied; null: it is none. @param {ArrayBuffer} message */
export function decodePadsAck(message) {
  const view = new DataView(message);
  if (view.byteLength !== 6 || view.getUint8(0) !== VERSION || view.getUint8(1) !== PADS_ACK) return null;
  return view.getUint32(2);
}

/** @param {ArrayBuffer} message @returns {Rumble | null} null: it is none */
export function decodeRumble(message) {
  const view = new DataView(message);
  if (view.byteLength !== 11 || view.getUint8(0) !== VERSION || view.getUint8(1) !== RUMBLE) return null;
  const pad = view.getUint8(6);
  if (pad >= MAX_PADS) return null;
  return { stamp: view.getUint32(2), pad, strong: view.getUint16(7), weak: view.getUint16(9) };
}
