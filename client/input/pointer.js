/**
 * The pointer: mouse, pen and one finger on the picture, as places in it or, with pointer lock, as movement.
 *
 * @typedef {import("./channel.js").InputChannel} InputChannel
 * @typedef {import("./encode.js").Motion} Motion
 */
import { WheelCounter, contentBox, fractionOf } from "./geometry.js";

/** MouseEvent.button of each bit of MouseEvent.buttons. */
const BUTTON_OF_BIT = [0, 2, 1, 3, 4];
const SUBPIXELS = 16;

/** Sums movement since the channel opened, in 1/16 CSS pixel, wrapping in 32 bits as the host does. */
export class RelativeSum {
  #x = 0;
  #y = 0;

  /** @param {number} dx @param {number} dy in CSS pixels */
  add(dx, dy) {
    this.#x += dx * SUBPIXELS;
    this.#y += dy * SUBPIXELS;
  }

  /** @returns {Motion} */
  get motion() {
    return { mode: "relative", screen: 0, x: Math.round(this.#x) | 0, y: Math.round(this.#y) | 0 };
  }
}

/**
 * The way that the pointer went since the last event of its kind.
 * @param {PointerEvent} event
 */
export function movementOf(event) {
  const steps = event.getCoalescedEvents?.() ?? [];
  if (steps.length === 0) return { x: event.movementX, y: event.movementY };
  return steps.reduce((sum, step) => ({ x: sum.x + step.movementX, y: sum.y + step.movementY }), { x: 0, y: 0 });
}

export class Pointer {
  #wheel = new WheelCounter();
  #relative = new RelativeSum();
  /** @type {InputChannel | null} */
  #last = null;

  /**
   * @param {HTMLElement} stage takes the events
   * @param {HTMLVideoElement} video shows the picture with `object-fit: contain`
   * @param {() => InputChannel | null} channel where input goes now
   */
  constructor(stage, video, channel) {
    this.stage = stage;
    this.video = video;
    this.channel = channel;
    // pointerrawupdate comes as the mouse reports, pointermove once a frame; both name the same movement.
    const moved = "onpointerrawupdate" in window ? "pointerrawupdate" : "pointermove";
    stage.addEventListener(moved, (event) => this.#move(/** @type {PointerEvent} */ (event)));
    for (const type of /** @type {const} */ (["pointerdown", "pointermove", "pointerup"])) {
      stage.addEventListener(type, (event) => this.#press(event));
    }
    const release = () => this.channel()?.releaseAll();
    stage.addEventListener("pointercancel", release);
    // A press under the lock has no capture: the release may come anywhere once the lock has ended.
    document.addEventListener("pointerlockchange", () => this.locked || release());
    stage.addEventListener("wheel", (event) => this.#turn(event), { passive: false });
    // What a browser does by itself with these belongs to the host: menus, scrolling, going back, dragging.
    for (const type of ["mousedown", "mouseup", "auxclick", "contextmenu", "dragstart"]) {
      stage.addEventListener(type, (event) => event.preventDefault());
    }
  }

  /** Whether the pointer is locked, and only its movement counts. */
  get locked() {
    return document.pointerLockElement === this.stage;
  }

  /** Lock the pointer, without the system's acceleration where the browser can. */
  async lock() {
    this.stage.focus();
    const request = /** @type {(options?: object) => Promise<void> | void} */ (
      this.stage.requestPointerLock.bind(this.stage)
    );
    try {
      await request({ unadjustedMovement: true });
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "NotSupportedError") throw error;
      await request();
    }
  }

  unlock() {
    document.exitPointerLock();
  }

  /** @param {MouseEvent} event @returns {Motion} */
  #motion({ clientX, clientY }) {
    if (this.locked) return this.#relative.motion;
    const { videoWidth, videoHeight } = this.video;
    const box = contentBox(this.video.getBoundingClientRect(), videoWidth, videoHeight);
    const screen = this.channel()?.screen ?? 0;
    return { mode: "absolute", screen, ...fractionOf(clientX, clientY, box, devicePixelRatio) };
  }

  /** The sums begin anew with every channel. */
  #current() {
    const channel = this.channel();
    if (channel !== this.#last) this.#relative = new RelativeSum();
    this.#last = channel;
    return channel;
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const channel = this.#current();
    if (!channel || !event.isPrimary) return;
    if (this.locked) {
      const { x, y } = movementOf(event);
      if (x === 0 && y === 0) return;
      this.#relative.add(x, y);
    }
    channel.move(this.#motion(event));
  }

  /**
   * Buttons that changed; a second button of a held mouse is told by pointermove, and so is one that was released
   * where the page did not see it.
   * @param {PointerEvent} event
   */
  #press(event) {
    const channel = this.#current();
    if (!channel || !event.isPrimary) return;
    if (event.type === "pointerdown") {
      this.stage.focus({ preventScroll: true });
      // A drag that leaves the window keeps coming.
      if (!this.locked) this.stage.setPointerCapture(event.pointerId);
    }
    BUTTON_OF_BIT.forEach((button, bit) => {
      const down = Boolean(event.buttons & (1 << bit));
      // Only what this very event says goes down: a button that was pressed elsewhere is not the host's.
      if (down && event.button !== button) return;
      if (down !== channel.holdsButton(button)) channel.button(button, down, this.#motion(event), event.timeStamp);
    });
  }

  /** @param {WheelEvent} event */
  #turn(event) {
    const channel = this.channel();
    if (!channel) return;
    event.preventDefault();
    const { dx, dy } = this.#wheel.turn(event);
    channel.wheel(dx, dy, event.timeStamp);
  }
}
