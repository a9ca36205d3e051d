/**
 * Text that no key stands for: while it is on, an input method or a phone's keyboard writes into a field that nobody
 * sees, and what it has written goes to the host. Keys with a place on a keyboard stay keys (keyboard.js).
 *
 * @typedef {import("./channel.js").InputChannel} InputChannel
 */
import { usageOf } from "./keys.js";

/** What an on-screen keyboard says in place of a key, by `inputType` of the Input Events specification. */
const KEYS = Object.freeze({
  insertLineBreak: "Enter",
  insertParagraph: "Enter",
  deleteContentBackward: "Backspace",
});

export class TextEntry {
  #on = false;

  /**
   * @param {HTMLElement} stage the focusable element that shows the picture
   * @param {HTMLTextAreaElement} field within it
   * @param {() => InputChannel | null} channel where input goes now
   */
  constructor(stage, field, channel) {
    this.stage = stage;
    this.field = field;
    this.channel = channel;
    // A click on the picture takes the focus to it.
    stage.addEventListener("focus", () => this.#on && field.focus({ preventScroll: true }));
    field.addEventListener("compositionend", () => this.#send());
    field.addEventListener("input", (event) => {
      if (!(/** @type {InputEvent} */ (event).isComposing)) this.#send();
    });
    field.addEventListener("beforeinput", (event) => this.#key(event));
  }

  get on() {
    return this.#on;
  }

  toggle() {
    this.#on = !this.#on;
    this.field.value = "";
    this.field.inert = !this.#on;
    (this.#on ? this.field : this.stage).focus({ preventScroll: true });
  }

  #send() {
    const text = this.field.value.replace(/\s/g, " "); // a pasted line break would be no character
    this.field.value = "";
    if (text) this.channel()?.text(text);
  }

  /** @param {InputEvent} event */
  #key(event) {
    if (event.isComposing || this.field.value !== "" || !Object.hasOwn(KEYS, event.inputType)) return;
    event.preventDefault();
    const usage = /** @type {number} */ (usageOf(KEYS[/** @type {keyof typeof KEYS} */ (event.inputType)]));
    this.channel()?.key(usage, true);
    this.channel()?.key(usage, false);
  }
}
