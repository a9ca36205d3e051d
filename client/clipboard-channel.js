/** The `clipboard` data channel: a text to the host's clipboard, the host's text here, each with an end in any case. */
import { ClipboardReader, MAX_TEXT_BYTES, encodeText, encodeWant } from "./clipboard.js";

/** More is not given to the channel at once, so that what the others have to say gets its turn. */
const MAX_BUFFERED_BYTES = 64 * 1024;
/** Of one text, on a slow path; nobody waits longer. */
const LIMIT_MS = 10_000;

export class ClipboardChannel {
  /** Which ways are open, of TO_HOST and TO_CLIENT. */
  ways = 0;
  /** Whether the host's clipboard has a text that was not read yet. */
  offered = false;
  /** Told when `ways` or `offered` changes. */
  onChange = () => {};
  #reader = new ClipboardReader();
  #number = 0;
  /** Who waits for an answer, by its number. @type {Map<number, (answer: any) => void>} */
  #waiting = new Map();
  /** What is left of the newest text for the host. @type {ArrayBuffer[]} */
  #text = [];

  /** @param {RTCDataChannel} channel */
  constructor(channel) {
    this.channel = channel;
    channel.binaryType = "arraybuffer";
    channel.bufferedAmountLowThreshold = MAX_BUFFERED_BYTES / 2;
    channel.onbufferedamountlow = () => this.#pump();
    channel.onmessage = ({ data }) => data instanceof ArrayBuffer && this.#hear(data);
    channel.onclose = () => this.close();
  }

  /** Put a text into the host's clipboard. @param {string} text @returns {Promise<boolean>} whether it is there */
  async put(text) {
    const utf8 = new TextEncoder().encode(text.replace(/\r\n?/g, "\n"));
    if (utf8.length > MAX_TEXT_BYTES || this.channel.readyState !== "open") return false;
    const number = this.#next();
    this.#text = encodeText(number, utf8);
    this.#pump();
    return (await this.#answer(number)) === true;
  }

  /** The host's text. @returns {Promise<string | null>} null: it has none for us */
  async take() {
    if (this.channel.readyState !== "open") return null;
    const number = this.#next();
    this.channel.send(encodeWant(number));
    const text = await this.#answer(number);
    this.offered = false;
    this.onChange();
    return typeof text === "string" ? text : null;
  }

  /** Whoever waits gets nothing. Idempotent. */
  close() {
    this.channel.onmessage = this.channel.onclose = this.channel.onbufferedamountlow = null;
    this.#text = [];
    for (const answer of [...this.#waiting.values()]) answer(null);
    this.ways = 0;
    this.offered = false;
    this.onChange();
  }

  #next() {
    this.#number = (this.#number + 1) >>> 0;
    return this.#number;
  }

  /** @param {number} number @returns {Promise<unknown>} */
  #answer(number) {
    return new Promise((resolve) => {
      const done = (/** @type {unknown} */ answer) => {
        clearTimeout(timer);
        this.#waiting.delete(number);
        resolve(answer);
      };
      const timer = setTimeout(() => done(null), LIMIT_MS);
      this.#waiting.set(number, done);
    });
  }

  #pump() {
    const { channel } = this;
    while (this.#text.length > 0 && channel.readyState === "open") {
      if (channel.bufferedAmount + this.#text[0].byteLength > MAX_BUFFERED_BYTES) return; // bufferedamountlow comes
      channel.send(/** @type {ArrayBuffer} */ (this.#text.shift()));
    }
  }

  /** @param {ArrayBuffer} message */
  #hear(message) {
    const said = this.#reader.hear(message);
    if (said?.kind === "text") this.#waiting.get(said.number)?.(said.text);
    else if (said?.kind === "taken") this.#waiting.get(said.number)?.(said.taken);
    else if (said) {
      if (said.kind === "policy") this.ways = said.ways;
      else this.offered = said.text;
      this.onChange();
    }
  }
}
