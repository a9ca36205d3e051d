/**
 * The `desk` data channel (docs/protocol.md 6.6): what the host can show, what it shows, and the user's choice.
 * The host's side is agent/desk/messages.py; tests/vectors/desk.json runs both.
 *
 * @typedef {"monitor" | "every-monitor" | "app"} Kind
 * @typedef {"ready" | "shown" | "starting" | "running" | "ending"} ChoiceState
 * @typedef {{number: number, kind: Kind, state: ChoiceState, width: number, height: number, name: string}} Choice
 *   sizes in pixels, 0: not known
 * @typedef {{type: "desk", screen: number, may: boolean, choices: Choice[]}} Desk
 * @typedef {{type: "said", words: string}} Said
 */

const VERSION = 1;
const DESK = 1;
const SAID = 2;
const CHOOSE = 3;
const END = 4;
const HEAD_BYTES = 5;
const CHOICE_BYTES = 9;
/** @type {(Kind | undefined)[]} */
const KINDS = [undefined, "monitor", "every-monitor", "app"];
/** @type {(ChoiceState | undefined)[]} */
const STATES = ["ready", "shown", "starting", "running", "ending"];

/** @param {DataView} view @param {number} at @param {number} length */
function text(view, at, length) {
  if (at + length > view.byteLength) return null;
  return new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at, length));
}

/** @param {DataView} view @returns {Desk | null} */
function decodeDesk(view) {
  if (view.byteLength < HEAD_BYTES || view.getUint8(3) > 1) return null;
  /** @type {Choice[]} */
  const choices = [];
  let at = HEAD_BYTES;
  for (let left = view.getUint8(4); left > 0; left--) {
    if (at + CHOICE_BYTES > view.byteLength) return null;
    const length = view.getUint8(at + 8);
    const name = text(view, at + CHOICE_BYTES, length);
    const kind = KINDS[view.getUint8(at + 2)];
    const state = STATES[view.getUint8(at + 3)];
    if (name === null) return null;
    // A newer host may know more kinds of choices than this page does: those are passed over.
    if (kind && state) {
      const [number, width, height] = [view.getUint16(at), view.getUint16(at + 4), view.getUint16(at + 6)];
      choices.push({ number, kind, state, width, height, name });
    }
    at += CHOICE_BYTES + length;
  }
  if (at !== view.byteLength) return null;
  return { type: "desk", screen: view.getUint8(2), may: view.getUint8(3) === 1, choices };
}

/** A message of the host, or null when it is none. @param {ArrayBuffer} message @returns {Desk | Said | null} */
export function decode(message) {
  const view = new DataView(message);
  if (view.byteLength < 3 || view.getUint8(0) !== VERSION) return null;
  if (view.getUint8(1) === DESK) return decodeDesk(view);
  if (view.getUint8(1) !== SAID || view.byteLength !== 3 + view.getUint8(2)) return null;
  return { type: "said", words: text(view, 3, view.getUint8(2)) ?? "" };
}

/** CHOOSE: show this, or END: this app is wanted no more. @param {number} number @param {{end?: boolean}} [what] */
export function encodeWish(number, { end = false } = {}) {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint8(0, VERSION);
  view.setUint8(1, end ? END : CHOOSE);
  view.setUint16(2, number);
  return view.buffer;
}

export class DeskChannel {
  /** The newest that the host told. @type {Desk | null} */
  desk = null;
  /** @type {(message: Desk | Said) => void} */
  onMessage = () => {};
  /** How many messages of the host were none. */
  malformed = 0;

  /** @param {RTCDataChannel} channel ordered and reliable @param {{screen: number}} input is told what its motion is meant for */
  constructor(channel, input) {
    this.channel = channel;
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }) => {
      const message = data instanceof ArrayBuffer ? decode(data) : null;
      if (message === null) return (this.malformed += 1);
      if (message.type === "desk") {
        this.desk = message;
        input.screen = message.screen;
      }
      this.onMessage(message);
    };
  }

  /** @param {number} number @param {{end?: boolean}} [what] as `encodeWish` has it */
  wish(number, what) {
    if (this.channel.readyState === "open") this.channel.send(encodeWish(number, what));
  }

  /** The channel itself is closed with its connection. */
  close() {
    this.channel.onmessage = null;
  }
}
