/**
 * What a connection that takes another's place has to say of keys and buttons: what is held, and what was not acknowledged
 * there. Values only; sender.js says it.
 *
 * @typedef {import("./encode.js").InputEvent} InputEvent
 * @typedef {{usages: Set<number>, buttons: Set<number>}} Holding keys and buttons
 * @typedef {InputEvent & {at: number}} TimedEvent `at`: when it was made, in seconds
 */
import { NO_MOTION } from "./encode.js";
import { isModifier } from "./keys.js";

/** What is older was meant for a picture of long ago: it is not made any more. */
export const LATE_S = 1;

/** What is held after an event. @param {Holding} holding changed @param {InputEvent} event */
export function hold({ usages, buttons }, event) {
  if (event.kind === "release-all") {
    usages.clear();
    buttons.clear();
  }
  if (event.kind !== "key" && event.kind !== "button") return;
  const [held, code] = event.kind === "key" ? [usages, event.usage] : [buttons, event.button];
  if (event.down) held.add(code);
  else held.delete(code);
}

/** @param {InputEvent} event @param {InputEvent} other Whether they are about one key or button. */
function same(event, other) {
  if (event.kind === "key") return other.kind === "key" && other.usage === event.usage;
  return event.kind === "button" && other.kind === "button" && other.button === event.button;
}

/**
 * What to say again, in order: first the presses of what was held before, then the events of the last second, of which
 * the first had the number `first` there. A key that these let go is not pressed for it, or it would be typed twice; a
 * modifier is, for their chords.
 * @param {Holding} applied what the host was told of and has acknowledged
 * @param {TimedEvent[]} events all that it has not, in order, the first with number `first`
 * @param {number} first
 * @param {number} now
 * @returns {{presses: InputEvent[], events: TimedEvent[], former: number}}
 */
export function carryOver(applied, events, first, now) {
  const holding = { usages: new Set(applied.usages), buttons: new Set(applied.buttons) };
  const late = events.filter(({ at }) => now - at > LATE_S).length;
  for (const event of events.slice(0, late)) hold(holding, event);
  // The sums of relative motion begin anew with the connection.
  const again = events
    .slice(late)
    .map((event) => (event.kind === "button" && event.motion.mode === "relative" ? { ...event, motion: NO_MOTION } : event));
  const untouched = (/** @type {InputEvent} */ press) =>
    !again.some((event) => event.kind === "release-all" || same(press, event));
  const keys = [...holding.usages].map((usage) => /** @type {InputEvent} */ ({ kind: "key", down: true, usage }));
  const buttons = [...holding.buttons].map(
    (button) => /** @type {InputEvent} */ ({ kind: "button", down: true, button, motion: NO_MOTION }),
  );
  const presses = [...keys, ...buttons].filter(
    (press) => untouched(press) || (press.kind === "key" && isModifier(press.usage)),
  );
  return { presses, events: again, former: first + late };
}
