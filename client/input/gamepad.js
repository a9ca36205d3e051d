/**
 * The gamepads of this machine: polled while the page has the focus, told to the host, and shaken by it.
 *
 * @typedef {import("./channel.js").InputChannel} InputChannel
 * @typedef {import("./pad_encode.js").PadState} PadState
 * @typedef {import("./pad_encode.js").Rumble} Rumble
 */
import { MAX_PADS, NEUTRAL } from "./pad_encode.js";

/** Browsers look at the hardware about this often, and timers come no faster. */
const POLL_MS = 4;
/** How long a motor runs after the last word of the host, which comes each 100 ms. */
const RUMBLE_MS = 500;
const BUTTONS = 17;
const LEFT_TRIGGER = 6;
const RIGHT_TRIGGER = 7;
const FULL = 65535;

/** @param {number | undefined} axis -1..1 */
const axisOf = (axis) => Math.round(Math.min(Math.max(axis || 0, -1), 1) * 32767);
/** @param {GamepadButton | undefined} button */
const triggerOf = (button) => Math.round(Math.min(Math.max(button?.value || 0, 0), 1) * 255);

/** What a gamepad of the standard mapping says. @param {Pick<Gamepad, "buttons" | "axes">} gamepad @returns {PadState} */
export function stateOf({ buttons, axes }) {
  let bits = 0;
  for (let button = 0; button < BUTTONS; button++) if (buttons[button]?.pressed) bits |= 1 << button;
  return {
    buttons: bits,
    leftTrigger: triggerOf(buttons[LEFT_TRIGGER]),
    rightTrigger: triggerOf(buttons[RIGHT_TRIGGER]),
    leftX: axisOf(axes[0]),
    leftY: axisOf(axes[1]),
    rightX: axisOf(axes[2]),
    rightY: axisOf(axes[3]),
  };
}

export class Gamepads {
  /** The host's number of each gamepad, by Gamepad.index. @type {Map<number, number>} */
  #numbers = new Map();
  /** Which of them the user was told about. @type {Set<number>} */
  #told = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {InputChannel | null} */
  #last = null;

  /**
   * @param {() => InputChannel | null} channel where input goes now
   * @param {(notice: "gamepad" | "gamepad-unknown" | "gamepad-many") => void} notice what the user is told once of each
   */
  constructor(channel, notice) {
    this.channel = channel;
    this.notice = notice;
    window.addEventListener("gamepadconnected", () => this.#poll());
    window.addEventListener("gamepaddisconnected", () => this.#poll());
    // At once: a page in the background has slow timers.
    window.addEventListener("blur", () => this.#poll());
    document.addEventListener("visibilitychange", () => this.#poll());
  }

  /** Begins with the gamepads that the page knows already: a session has begun. */
  start() {
    this.#told.clear();
    this.#poll();
  }

  /** The connected gamepads that have a number. @returns {Map<number, Gamepad>} */
  #connected() {
    const all = (navigator.getGamepads?.() ?? []).filter((gamepad) => gamepad?.connected);
    const gamepads = /** @type {Gamepad[]} */ (all);
    for (const index of this.#numbers.keys()) {
      if (gamepads.some((gamepad) => gamepad.index === index)) continue;
      this.#numbers.delete(index);
      this.#told.delete(index);
    }
    const found = new Map();
    for (const gamepad of gamepads) {
      const number = this.#numberOf(gamepad);
      if (number !== null) found.set(number, gamepad);
    }
    return found;
  }

  /** @param {Gamepad} gamepad */
  #numberOf({ index, mapping }) {
    if (mapping !== "standard") return this.#tell(index, "gamepad-unknown");
    const known = this.#numbers.get(index);
    if (known !== undefined) return known;
    const taken = [...this.#numbers.values()];
    const free = Array.from({ length: MAX_PADS }, (_, number) => number).find((number) => !taken.includes(number));
    if (free === undefined) return this.#tell(index, "gamepad-many");
    this.#numbers.set(index, free);
    this.#tell(index, "gamepad");
    return free;
  }

  /** @param {number} index @param {"gamepad" | "gamepad-unknown" | "gamepad-many"} notice */
  #tell(index, notice) {
    if (this.channel() && !this.#told.has(index)) {
      this.#told.add(index);
      this.notice(notice);
    }
    return null;
  }

  #poll() {
    clearTimeout(this.#timer);
    const channel = this.channel();
    if (channel !== this.#last && channel) channel.onRumble = (rumble) => this.#rumble(rumble);
    this.#last = channel;
    if (!channel) return; // `start` begins again
    const gamepads = this.#connected();
    const focused = document.hasFocus() && !document.hidden;
    const states = new Map();
    for (const [number, gamepad] of gamepads) states.set(number, focused ? stateOf(gamepad) : NEUTRAL);
    channel.pads(states);
    // Without a gamepad the browser's events say when there is one.
    if (gamepads.size > 0) this.#timer = setTimeout(() => this.#poll(), POLL_MS);
  }

  /** @param {Rumble} rumble */
  #rumble({ pad, strong, weak }) {
    const motor = this.#connected().get(pad)?.vibrationActuator;
    if (!motor) return;
    const done =
      strong || weak
        ? motor.playEffect("dual-rumble", {
            duration: RUMBLE_MS,
            strongMagnitude: strong / FULL,
            weakMagnitude: weak / FULL,
          })
        : motor.reset();
    done.catch((error) => console.warn("The gamepad does not rumble:", error));
  }
}
