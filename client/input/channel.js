/** The `input` data channel: lets the sender's messages out when they are due, and the host's ACKs in. */
import { decodeAck } from "./encode.js";
import { decodePadsAck, decodeRumble } from "./pad_encode.js";
import { PadSender } from "./pads.js";
import { InputSender } from "./sender.js";

/** More than this waiting in the channel means that the way is blocked: sending more would only make it later. */
const MAX_BUFFERED_BYTES = 16 * 1024;
const TRY_AGAIN_S = 0.02;
/** Presses whose time is remembered: more than wait for their picture. */
const MOST_PRESSED = 256;

export class InputChannel {
  #sender = new InputSender();
  #pads = new PadSender();
  /** When presses came about, by their sequence number. @type {Map<number, number>} */
  #pressed = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** The number of what the host shows (docs/protocol.md 6.6), which motion is meant for; 0: it does not say. */
  screen = 0;
  /** How many messages of the host were none. */
  malformed = 0;
  /** The host's games shake a gamepad. @type {((rumble: import("./pad_encode.js").Rumble) => void) | null} */
  onRumble = null;
  /** Of the newest word about the motors. */
  #rumbled = 0;

  /** @param {RTCDataChannel} channel */
  constructor(channel) {
    this.channel = channel;
    channel.binaryType = "arraybuffer";
    channel.onopen = () => this.#pump();
    channel.onmessage = ({ data }) => {
      if (!(data instanceof ArrayBuffer && this.#heard(data))) this.malformed += 1;
      this.#pump();
    };
  }

  /** A message of the host; false: it is none. @param {ArrayBuffer} message */
  #heard(message) {
    const next = decodeAck(message);
    const nextOfPads = decodePadsAck(message);
    const rumble = decodeRumble(message);
    if (next !== null) this.#sender.acknowledge(next, this.#now());
    if (nextOfPads !== null) this.#pads.acknowledge(nextOfPads);
    if (rumble !== null && rumble.stamp > this.#rumbled) {
      this.#rumbled = rumble.stamp;
      this.onRumble?.(rumble);
    }
    return next !== null || nextOfPads !== null || rumble !== null;
  }

  #now() {
    return performance.now() / 1000;
  }

  #pump() {
    clearTimeout(this.#timer);
    if (this.channel.readyState !== "open") return;
    const now = this.#now();
    let wait;
    if (this.channel.bufferedAmount > MAX_BUFFERED_BYTES) {
      wait = TRY_AGAIN_S;
    } else {
      for (const sender of [this.#sender, this.#pads]) {
        for (let message; (message = sender.poll(now)); ) this.channel.send(message);
      }
      wait = Math.min(this.#sender.nextDeadline(), this.#pads.nextDeadline()) - now;
    }
    if (wait < Infinity) this.#timer = setTimeout(() => this.#pump(), Math.max(wait * 1000, 0));
  }

  get heldKeys() {
    return this.#sender.heldKeys;
  }

  get heldButtons() {
    return this.#sender.heldButtons;
  }

  /** Take the place of another channel, with what is held there and what was said and not heard. @param {InputChannel} former */
  carry(former) {
    this.#sender.carry(former.#sender, this.#now());
    this.#pads.carry(former.#pads, this.#now());
    this.#pump();
  }

  /** @param {number} usage */
  holdsKey(usage) {
    return this.#sender.holdsKey(usage);
  }

  /** @param {number} button */
  holdsButton(button) {
    return this.#sender.holdsButton(button);
  }

  /** When a press or a turn of the wheel came about, in ms; undefined: not known (any more). @param {number} sequence */
  pressedAt(sequence) {
    return this.#pressed.get(sequence);
  }

  /** Lets the sender take an event; a press is noted with its time. @param {() => void} take @param {number | null} pressed */
  #take(take, pressed) {
    const before = this.#sender.newest;
    take();
    const { newest } = this.#sender;
    if (pressed !== null && newest !== before) this.#pressed.set(newest, pressed);
    if (this.#pressed.size > MOST_PRESSED) this.#pressed.delete(/** @type {number} */ (this.#pressed.keys().next().value));
    this.#pump();
  }

  /** @param {number} usage @param {boolean} down @param {number} [at] when it came about, in ms */
  key(usage, down, at = performance.now()) {
    this.#take(() => this.#sender.key(usage, down, this.#now()), down ? at : null);
  }

  /** @param {number} button @param {boolean} down @param {import("./encode.js").Motion} motion @param {number} [at] as above */
  button(button, down, motion, at = performance.now()) {
    this.#take(() => this.#sender.button(button, down, motion, this.#now()), down ? at : null);
  }

  /** @param {number} dx @param {number} dy in 1/120 notch @param {number} [at] as above */
  wheel(dx, dy, at = performance.now()) {
    this.#take(() => this.#sender.wheel(dx, dy, this.#now()), at);
  }

  /** Characters that no key stands for. @param {string} text @param {number} [at] as above */
  text(text, at = performance.now()) {
    this.#take(() => this.#sender.text(text, this.#now()), at);
  }

  /** @param {import("./encode.js").Motion} motion */
  move(motion) {
    this.#sender.move(motion, this.#now());
    this.#pump();
  }

  /** What all gamepads say. @param {Map<number, import("./pad_encode.js").PadState>} states by the host's number */
  pads(states) {
    this.#pads.update(states, this.#now());
    this.#pump();
  }

  releaseAll() {
    this.#sender.releaseAll(this.#now());
    this.#pump();
  }

  /** Stops; the channel itself is closed with its connection. */
  close() {
    clearTimeout(this.#timer);
    this.channel.onopen = this.channel.onmessage = null;
  }
}
