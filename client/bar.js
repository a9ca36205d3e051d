/** When the bar over the picture comes and goes: at rest it covers nothing of the host's screen. */

/** The gap above the bar (session.css), which belongs to the host even while the bar is there. */
const EDGE_PX = 8;
/** A mouse that rests in the gap for so long calls the bar; one on its way to a tab or a menu does not. */
const REST_MS = 400;
/** How long the bar stays by itself. Mouse and focus hold it longer (session.css). */
const STAY_MS = 2500;

export class Bar {
  /** Whether the mouse called the bar and still rests in the gap. */
  #resting = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #restTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #stayTimer;

  /**
   * @param {HTMLElement} element
   * @param {HTMLElement} handle does for fingers and pens what resting does for a mouse
   * @param {HTMLElement} stage shows the picture
   */
  constructor(element, handle, stage) {
    this.element = element;
    stage.addEventListener("pointermove", (event) => this.#moved(event));
    stage.addEventListener("pointerleave", () => this.#away());
    stage.addEventListener("pointerdown", () => {
      this.#away();
      this.#hide();
    });
    handle.hidden = !matchMedia("(pointer: coarse)").matches;
    for (const type of /** @type {const} */ (["pointermove", "pointerdown"])) {
      stage.addEventListener(type, ({ pointerType }) => (handle.hidden = pointerType === "mouse"));
    }
  }

  show() {
    this.element.classList.add("shown");
    clearTimeout(this.#stayTimer);
    this.#stayTimer = setTimeout(() => this.#hide(), STAY_MS);
  }

  #hide() {
    clearTimeout(this.#stayTimer);
    this.element.classList.remove("shown");
  }

  /** @param {PointerEvent} event */
  #moved({ clientY, buttons }) {
    if (clientY >= EDGE_PX || buttons !== 0 || document.pointerLockElement) return this.#away();
    clearTimeout(this.#restTimer);
    this.#restTimer = setTimeout(() => {
      this.#resting = true;
      this.show();
      clearTimeout(this.#stayTimer);
    }, REST_MS);
  }

  #away() {
    clearTimeout(this.#restTimer);
    if (this.#resting) this.show();
    this.#resting = false;
  }
}
