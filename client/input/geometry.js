/**
 * Where things are: page points to places in the picture, and wheel movements to notches. Pure functions.
 *
 * @typedef {{x: number, y: number, width: number, height: number}} Box in CSS pixels of the page
 */

const FULL = 65535;
/** What a notch of a common wheel is in the units of WheelEvent.deltaMode: pixels, lines, pages. */
const PER_NOTCH = [100, 3, 1];
const NOTCH = 120;

/**
 * The box that the picture fills inside its element under `object-fit: contain`: centred, as large as fits.
 * @param {Box} element
 * @param {number} width of the picture in its own pixels
 * @param {number} height
 * @returns {Box}
 */
export function contentBox(element, width, height) {
  if (!(width > 0 && height > 0)) return element;
  const box = {
    width: Math.min(element.width, (element.height * width) / height),
    height: Math.min(element.height, (element.width * height) / width),
  };
  return {
    ...box,
    x: element.x + (element.width - box.width) / 2,
    y: element.y + (element.height - box.height) / 2,
  };
}

/** @param {number} fraction */
function clamped(fraction) {
  return Math.round(Math.min(Math.max(fraction, 0), 1) * FULL);
}

/**
 * A point of the page as fractions of the picture, 0..65535; points outside are moved to its edge.
 *
 * A pointer event names the corner of the device pixel under the pointer. What the user points at is that pixel's
 * middle, and only the middle finds the same pixel again when page and picture differ in size.
 * @param {number} clientX
 * @param {number} clientY
 * @param {Box} box of the picture
 * @param {number} devicePixelRatio
 */
export function fractionOf(clientX, clientY, box, devicePixelRatio) {
  const half = 0.5 / devicePixelRatio;
  return {
    x: box.width > 0 ? clamped((clientX + half - box.x) / box.width) : 0,
    y: box.height > 0 ? clamped((clientY + half - box.y) / box.height) : 0,
  };
}

/**
 * One axis of a wheel event in 1/120 notch.
 *
 * How many pixels a notch has differs between systems (100, 120, 53), but the older `wheelDelta` counts 120 a notch
 * on all of them. For a touchpad it is thrice the pixels instead, and says nothing more.
 * @param {number} delta @param {number} deltaMode @param {number} [wheelDelta]
 */
function turned(delta, deltaMode, wheelDelta) {
  const notches = wheelDelta && wheelDelta % NOTCH === 0 && wheelDelta !== -3 * delta;
  if (deltaMode === 0 && notches) return -wheelDelta;
  return (delta * NOTCH) / (PER_NOTCH[deltaMode] ?? PER_NOTCH[0]);
}

/** Turns wheel events into whole 1/120 notches and carries what is left, so that slow scrolling adds up. */
export class WheelCounter {
  #restX = 0;
  #restY = 0;

  /**
   * @param {{deltaX: number, deltaY: number, deltaMode: number, wheelDeltaX?: number, wheelDeltaY?: number}} event
   * `wheelDeltaX` and `wheelDeltaY` are in no standard; not every browser has them
   */
  turn({ deltaX, deltaY, deltaMode, wheelDeltaX, wheelDeltaY }) {
    this.#restX += turned(deltaX, deltaMode, wheelDeltaX);
    this.#restY += turned(deltaY, deltaMode, wheelDeltaY);
    const dx = Math.trunc(this.#restX);
    const dy = Math.trunc(this.#restY);
    this.#restX -= dx;
    this.#restY -= dy;
    return { dx, dy };
  }
}
