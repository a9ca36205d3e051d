/**
 * The keyboard: while the picture has the focus, every key goes to the host but the page's own chords.
 *
 * The browser keeps some for itself (Ctrl+W, Ctrl+T), all but in full screen where it knows the Keyboard Lock API.
 * Ctrl+Alt+Shift and Z gives the keyboard back to the page, F toggles full screen, M the mouse mode, S statistics, T
 * text entry.
 *
 * @typedef {"release" | "fullscreen" | "mouse" | "statistics" | "text"} Chord
 * @typedef {import("./channel.js").InputChannel} InputChannel
 * @typedef {{pasting: () => Promise<void> | null, copying: () => void}} ClipboardKeys what the keys for paste and copy
 *   mean to the page: until the promise is kept, the host gets no key; null: it is a key like others
 */
import { isModifier, usageOf } from "./keys.js";

/** Presses beyond this are lost: nobody makes more in the seconds that a text takes. Releases never are. */
const MOST_WAITING = 64;

/** @type {Readonly<Record<string, Chord>>} */
const CHORDS = Object.freeze({
  Z: "release",
  F: "fullscreen",
  M: "mouse",
  S: "statistics",
  T: "text",
});

/**
 * The page's own chord that a key event completes, if any: the letter that is printed on the key counts. Where the
 * modifiers or the alphabet make another character of it, the key's place on an English keyboard does.
 * @param {{code: string, key: string, ctrlKey: boolean, altKey: boolean, shiftKey: boolean, metaKey: boolean}} event
 * @returns {Chord | undefined}
 */
export function chordOf({ code, key, ctrlKey, altKey, shiftKey, metaKey }) {
  if (!(ctrlKey && altKey && shiftKey) || metaKey) return undefined;
  const letter = /^[a-z]$/i.test(key) ? key.toUpperCase() : code.replace(/^Key/, "");
  return Object.hasOwn(CHORDS, letter) ? CHORDS[letter] : undefined;
}

/**
 * What a key means for the clipboard, here as on the host.
 * @param {{key: string, code: string, ctrlKey: boolean, altKey: boolean, shiftKey: boolean, metaKey: boolean}} event
 * @returns {"paste" | "copy" | undefined}
 */
export function clipboardActOf({ key, code, ctrlKey, altKey, shiftKey, metaKey }) {
  if (altKey) return undefined;
  if (code === "Insert") return shiftKey && !ctrlKey ? "paste" : ctrlKey && !shiftKey ? "copy" : undefined;
  if (ctrlKey === metaKey) return undefined;
  const letter = key.toLowerCase();
  return letter === "v" ? "paste" : letter === "c" || letter === "x" ? "copy" : undefined;
}

/** Whether an input method takes this key; 229 is how browsers without `isComposing` at the first key say it. @param {KeyboardEvent} event */
function withInputMethod(event) {
  return event.isComposing || event.keyCode === 229;
}

/** Whether a key without a place on any keyboard is one character. @param {KeyboardEvent} event */
function isCharacter({ key, ctrlKey, altKey, metaKey }) {
  return [...key].length === 1 && !(ctrlKey || altKey || metaKey);
}

export class Keyboard {
  /** When the left Control key went down, as AltGr on Windows is told as both. */
  #controlAt = -Infinity;
  /** What waits for a text on its way to the host's clipboard, in order. @type {((channel: InputChannel) => void)[] | null} */
  #waiting = null;

  /**
   * @param {HTMLElement} stage the focusable element that shows the picture
   * @param {() => InputChannel | null} channel where input goes now
   * @param {(chord: Chord) => void} onChord
   * @param {ClipboardKeys} clipboard
   */
  constructor(stage, channel, onChord, clipboard) {
    this.channel = channel;
    this.onChord = onChord;
    this.clipboard = clipboard;
    const release = () => {
      if (this.#waiting) this.#waiting = [];
      this.channel()?.releaseAll();
    };
    stage.addEventListener("keydown", (event) => this.#down(event));
    stage.addEventListener("keyup", (event) => this.#up(event));
    stage.addEventListener("focusout", release); // of the field in it, too (text.js)
    window.addEventListener("blur", release);
    window.addEventListener("pagehide", release);
    document.addEventListener("visibilitychange", () => document.hidden && release());
  }

  /** @param {KeyboardEvent} event */
  #down(event) {
    const channel = this.channel();
    if (!channel || withInputMethod(event)) return;
    const act = event.repeat ? undefined : clipboardActOf(event);
    const pasting = act === "paste" ? this.clipboard.pasting() : null;
    if (!pasting) event.preventDefault(); // else the browser pastes
    event.stopPropagation();
    if (act === "copy") this.clipboard.copying();
    if (pasting) void this.#hold(pasting);
    const chord = chordOf(event);
    if (chord) {
      // The host has seen the chord's modifiers go down; it must not keep them.
      channel.releaseAll();
      if (!event.repeat) this.onChord(chord);
      return;
    }
    const usage = usageOf(event.code);
    if (usage === undefined && isCharacter(event)) {
      return this.#press((to) => to.text(event.key, event.timeStamp));
    }
    if (usage === undefined || event.repeat) return; // the host repeats held keys itself
    if (event.code === "ControlLeft") this.#controlAt = event.timeStamp;
    if (event.code === "AltRight" && event.key === "AltGraph" && event.timeStamp - this.#controlAt < 5) {
      this.#send((to) => to.key(/** @type {number} */ (usageOf("ControlLeft")), false));
    }
    this.#press((to) => to.key(usage, true, event.timeStamp));
  }

  /** Keep the keys back until a promise is kept. @param {Promise<void>} ready */
  async #hold(ready) {
    if (this.#waiting) return;
    this.#waiting = [];
    await ready;
    const waiting = this.#waiting;
    this.#waiting = null;
    for (const send of waiting) this.#send(send);
  }

  /** @param {(channel: InputChannel) => void} send a press or a text */
  #press(send) {
    if (!this.#waiting || this.#waiting.length < MOST_WAITING) this.#send(send);
  }

  /** @param {(channel: InputChannel) => void} send to the connection there is when its turn comes */
  #send(send) {
    if (this.#waiting) return void this.#waiting.push(send);
    const channel = this.channel();
    if (channel) send(channel);
  }

  /** @param {KeyboardEvent} event */
  #up(event) {
    if (!this.channel() || withInputMethod(event)) return;
    event.preventDefault();
    event.stopPropagation();
    const usage = usageOf(event.code);
    if (usage === undefined) return;
    this.#send((to) => {
      to.key(usage, false);
      if (event.code === "MetaLeft" || event.code === "MetaRight") {
        // macOS tells no keyup of keys that were pressed while Command was down.
        for (const held of to.heldKeys) if (!isModifier(held)) to.key(held, false);
      }
    });
  }
}
