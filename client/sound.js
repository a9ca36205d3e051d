/**
 * The host's sound: it plays by itself where the browser lets it, else from the user's next click, tap or key on. A
 * session's begins after its first picture: a browser that opens its audio output lets the page stand still for 0.1 s.
 */

/** What browsers take for a wish of the user (HTML, "activation triggering input event"), and Escape, which they do not. */
const GESTURES = ["pointerup", "keydown"];

export class Sound {
  /** Whether the browser waits for a gesture. */
  #blocked = false;
  /** What is to be heard from the next `play` on. @type {MediaStreamTrack | null} */
  #next = null;

  /** @param {import("./view.js").View} view */
  constructor(view) {
    this.view = view;
    this.audio = view.audio;
    for (const type of ["play", "pause", "volumechange"]) {
      this.audio.addEventListener(type, () => view.showSound(this.#on));
    }
    for (const type of GESTURES) {
      // Captured, as the keyboard lets no key past it. The button does by itself what its click means.
      document.addEventListener(type, ({ target }) => this.#gesture(target), { capture: true });
    }
  }

  get #on() {
    return !this.audio.muted && !this.audio.paused;
  }

  /** @param {EventTarget | null} target */
  #gesture(target) {
    if (!this.#blocked || this.view.state !== "playing") return;
    if (target instanceof Node && this.view.sound.contains(target)) return;
    void this.play();
  }

  /** Hear this one, at once while a session plays, which has a connection after another. @param {MediaStreamTrack} track */
  take(track) {
    this.#next = track;
    if (this.view.state === "playing") void this.play();
  }

  async play() {
    if (this.#next) this.audio.srcObject = new MediaStream([this.#next]);
    this.#next = null;
    if (!this.audio.srcObject) return;
    try {
      await this.audio.play();
      this.#blocked = false;
      this.view.withdraw("muted");
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "NotAllowedError") return; // replaced by the next one
      this.#blocked = true;
      this.view.showSound(false);
      this.view.notice("muted");
    }
  }

  toggle() {
    this.audio.muted = this.#on;
    if (!this.audio.muted) void this.play();
  }
}
