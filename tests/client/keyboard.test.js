/** The keyboard while a text is on its way to the host's clipboard: which connection its keys go to, and that none stays held. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { InputChannel } from "../../client/input/channel.js";
import { Keyboard } from "../../client/input/keyboard.js";
import { usageOf } from "../../client/input/keys.js";

const CONTROL = /** @type {number} */ (usageOf("ControlLeft"));

/** A keyboard on a page without a browser, whose paste ends when the test says so. */
class Bench {
  /** @type {InputChannel} */
  channel = openChannel();
  /** What the next V means. @type {Promise<void> | null} */
  #pasting = null;
  pasted = () => {};

  constructor() {
    Object.assign(globalThis, { window: new EventTarget(), document: new EventTarget() });
    this.stage = new EventTarget();
    const clipboard = { pasting: () => this.#pasting, copying() {} };
    new Keyboard(/** @type {any} */ (this.stage), () => this.channel, () => {}, clipboard);
  }

  /** From the next key for a paste on, keys wait. */
  paste() {
    this.#pasting = new Promise((resolve) => (this.pasted = resolve));
    this.press("ControlLeft", "Control");
    this.press("KeyV", "v", { ctrlKey: true });
  }

  /** @param {"keydown" | "keyup"} type @param {string} code @param {string} key @param {object} modifiers */
  #tell(type, code, key, modifiers) {
    const none = { ctrlKey: false, altKey: false, shiftKey: false, metaKey: false, repeat: false };
    this.stage.dispatchEvent(Object.assign(new Event(type), { code, key, ...none, ...modifiers }));
  }

  /** @param {string} code @param {string} key @param {object} [modifiers] */
  press(code, key, modifiers = {}) {
    this.#tell("keydown", code, key, modifiers);
  }

  /** @param {string} code @param {string} key @param {object} [modifiers] */
  release(code, key, modifiers = {}) {
    this.#tell("keyup", code, key, modifiers);
  }

  /** The text has come to the host. */
  async arrive() {
    this.pasted();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function openChannel() {
  return new InputChannel(/** @type {any} */ ({ readyState: "connecting", bufferedAmount: 0 }));
}

test("Control stayed held on the host after a paste during which the connection changed", async () => {
  const bench = new Bench();
  bench.paste();
  const former = bench.channel;
  assert.deepEqual(former.heldKeys, [CONTROL]);
  bench.channel = openChannel();
  bench.channel.carry(former); // as session.js does
  bench.release("KeyV", "v", { ctrlKey: true });
  bench.release("ControlLeft", "Control");
  await bench.arrive();
  assert.deepEqual(bench.channel.heldKeys, []);
  assert.equal(bench.channel.pressedAt(2) === undefined, false, "V was not typed");
  assert.deepEqual(former.heldKeys, [CONTROL], "the former connection ends with what it held");
});

test("a key's release was lost when 64 presses and releases waited for a paste", async () => {
  const bench = new Bench();
  bench.paste();
  for (let n = 0; n < 40; n++) {
    bench.press("KeyA", "a");
    bench.release("KeyA", "a");
  }
  bench.release("KeyV", "v", { ctrlKey: true });
  bench.release("ControlLeft", "Control");
  await bench.arrive();
  assert.deepEqual(bench.channel.heldKeys, []);
});

test("keys that wait for a paste go nowhere when the connection has ended", async () => {
  const bench = new Bench();
  bench.paste();
  const former = bench.channel;
  bench.channel = /** @type {any} */ (null);
  await bench.arrive();
  assert.deepEqual(former.heldKeys, [CONTROL]);
});
