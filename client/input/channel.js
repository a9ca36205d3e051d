/** The `input` data channel: lets the sender's messages out when they are due, and the host's ACKs in. */
import { decodeAck } from "./encode.js";
import { InputSender } from "./sender.js";

/** More than this waiting in the channel means that the way is blocked: sending more would only make it later. */
const MAX_BUFFERED_BYTES = 16 * 1024;
const TRY_AGAIN_S = 0.02;

export class InputChannel {
  #sender = new InputSender();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** How many messages of the host were none. */
  malformed = 0;

  /** @param {RTCDataChannel} channel */
  constructor(channel) {
    this.channel = channel;
    channel.binaryType = "arraybuffer";
    channel.onopen = () => this.#pump();
    channel.onmessage = ({ data }) => {
      const next = data instanceof ArrayBuffer ? decodeAck(data) : null;
      if (next === null) this.malformed += 1;
      else this.#sender.acknowledge(next, this.#now());
      this.#pump();
    };
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
      for (let message; (message = this.#sender.poll(now)); ) this.channel.send(message);
      wait = this.#sender.nextDeadline() - now;
    }
    if (wait < Infinity) this.#timer = setTimeout(() => this.#pump(), Math.max(wait * 1000, 0));
  }

  get heldKeys() {
    return this.#sender.heldKeys;
  }

  /** @param {number} usage */
  holdsKey(usage) {
    return this.#sender.holdsKey(usage);
  }

  /** @param {number} button */
  holdsButton(button) {
    return this.#sender.holdsButton(button);
  }

  /** @param {number} usage @param {boolean} down */
  key(usage, down) {
    this.#sender.key(usage, down, this.#now());
    this.#pump();
  }

  /** @param {number} button @param {boolean} down @param {import("./encode.js").Motion} motion */
  button(button, down, motion) {
    this.#sender.button(button, down, motion, this.#now());
    this.#pump();
  }

  /** @param {number} dx @param {number} dy in 1/120 notch */
  wheel(dx, dy) {
    this.#sender.wheel(dx, dy, this.#now());
    this.#pump();
  }

  /** @param {import("./encode.js").Motion} motion */
  move(motion) {
    this.#sender.move(motion, this.#now());
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
