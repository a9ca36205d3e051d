/**
 * When a text goes between this machine's clipboard and the host's: by the keys for paste and copy in the picture, and by
 * the button for what was copied on the host. Never without such an act.
 *
 * @typedef {import("./clipboard-channel.js").ClipboardChannel} ClipboardChannel
 */
import { TO_CLIENT, TO_HOST } from "./clipboard.js";

/** The browser's paste event comes at once; without one there is nothing to be pasted. */
const PASTE_WITHIN_MS = 200;
/** Longer than this the keys do not wait for a text. */
const KEYS_WAIT_MS = 3000;
/** What the host copies within this time was copied by the keys. */
const COPY_WITHIN_MS = 2000;

export class ClipboardKeys {
  /** @type {ClipboardChannel | null} */
  #channel = null;
  #copyUntil = -Infinity;
  /** Kept by the next paste event. @type {((text: string) => void) | null} */
  #pasted = null;

  /**
   * @param {HTMLButtonElement} button
   * @param {(notice: string) => void} tell
   */
  constructor(button, tell) {
    this.button = button;
    this.tell = tell;
    document.addEventListener(
      "paste",
      (event) => {
        if (!this.#pasted) return; // into a field of the page
        event.preventDefault();
        this.#pasted(event.clipboardData?.getData("text/plain") ?? "");
      },
      true,
    );
    button.addEventListener("click", () => void this.#copy());
  }

  /** Serve this connection from now on; null: there is none. @param {ClipboardChannel | null} channel */
  follow(channel) {
    if (channel === this.#channel) return;
    if (this.#channel) this.#channel.onChange = () => {};
    this.#channel = channel;
    this.#copyUntil = -Infinity;
    if (channel) channel.onChange = () => this.#changed();
    this.#changed();
  }

  /** The user pastes: kept when the text is in the host's clipboard or will not be. @returns {Promise<void> | null} */
  pasting() {
    const channel = this.#channel;
    if (!channel || !(channel.ways & TO_HOST)) return null;
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      let timer = setTimeout(() => {
        this.#pasted = null;
        done();
      }, PASTE_WITHIN_MS);
      this.#pasted = (text) => {
        this.#pasted = null;
        clearTimeout(timer);
        if (text === "") return done(); // an image, or nothing
        timer = setTimeout(done, KEYS_WAIT_MS);
        void channel.put(text).then((taken) => {
          if (!taken) this.tell("not-pasted");
          done();
        });
      };
    });
  }

  /** The user copies on the host: its next text is theirs. */
  copying() {
    this.#copyUntil = performance.now() + COPY_WITHIN_MS;
  }

  #changed() {
    const { ways = 0, offered = false } = this.#channel ?? {};
    this.button.hidden = !(ways & TO_CLIENT) || !navigator.clipboard;
    this.button.classList.toggle("offered", offered);
    if (!offered || performance.now() > this.#copyUntil) return;
    this.#copyUntil = -Infinity;
    void this.#copy();
  }

  async #copy() {
    const text = await this.#channel?.take();
    if (typeof text !== "string") return this.tell("nothing-copied");
    try {
      await navigator.clipboard.writeText(text);
      this.tell("copied");
    } catch {
      this.tell("not-copied"); // the browser wants an act of its own, or the focus
    }
  }
}
