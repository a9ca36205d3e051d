/**
 * The Tightbeam message codec: JSON text frames to checked plain objects and back (docs/protocol.md 3).
 *
 * A message is an object with the keys that its JSON has. `cluster/protocol/messages.py` is the same codec and
 * tests/vectors/messages.json runs both.
 *
 * @typedef {"host" | "player" | "viewer"} Role
 * @typedef {{type: "offer", sdp: string}} Offer
 * @typedef {{type: "answer", sdp: string}} Answer
 * @typedef {{type: "candidate", candidate: string, sdpMid?: string, sdpMLineIndex?: number,
 *   usernameFragment?: string}} Candidate `candidate` "": no more will come
 * @typedef {{type: "control", action: string, payload?: unknown}} Control
 * @typedef {Offer | Answer | Candidate | Control} Item
 * @typedef {{type: "hello", room: string, role: Role, token?: string, session?: string, resume?: string,
 *   capacity?: number}} Hello
 * @typedef {{messageBytes: number, messagesPer10s: number}} Limits
 * @typedef {{type: "welcome", peer: string, room: string, role: Role, session: string, resume: string,
 *   resumed: boolean, iceServers: RTCIceServer[], limits: Limits}} Welcome
 * @typedef {{type: "ice-servers", iceServers: RTCIceServer[]}} IceServers replaces those of `welcome`, whose
 *   credentials end
 * @typedef {{type: "error", code: string, message: string, retryAfterMs?: number}} ErrorMessage
 * @typedef {{type: "peer-joined", peer: string, role: Role, dialect: "tightbeam" | "plain"}} PeerJoined
 * @typedef {{type: "peer-left", peer: string, reason: "bye" | "lost"}} PeerLeft
 * @typedef {{type: "reconnect", afterMs: number}} Reconnect
 * @typedef {{type: "bye", reason: string}} Bye
 * @typedef {{type: "sync", to: string, from: string, negotiation: string, at: number, items: Item[],
 *   has: number, replaces?: string[]}} Sync a piece of a negotiation log, see negotiation.js
 * @typedef {{type: "ping"}} Ping
 * @typedef {{type: "pong"}} Pong
 * @typedef {Hello | Welcome | IceServers | ErrorMessage | PeerJoined | PeerLeft | Reconnect | Bye | Sync | Ping
 *   | Pong} Message
 */

export const SUBPROTOCOL = "tightbeam.v1";
export const ROOM_PATTERN = /^[A-Za-z0-9_\-:.]{1,64}$/;
export const MAX_MESSAGE_BYTES = 256 * 1024;
export const MAX_ITEM_BYTES = 64 * 1024;
export const MAX_ITEMS = 256;
export const MAX_REPLACES = 16;
const ID_PATTERN = /^[A-Za-z0-9_\-]{22}$/;
const MAX_TOKEN_BYTES = 4096;
const MAX_DEPTH = 32;

/** A frame that is not as docs/protocol.md says; the text names the key and what was expected. */
export class MessageError extends Error {}

/**
 * @typedef {(key: string, value: unknown) => unknown} Check returns the value to keep or throws a MessageError
 * @typedef {{key: string, check: Check, required: boolean, nullable: boolean}} Field
 */

/** @param {unknown} value @returns {value is Record<string, unknown>} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {number} most @param {number} [least] @returns {Check} */
const text = (most, least = 0) => (key, value) => {
  if (typeof value !== "string") throw new MessageError(`${key}: expected a string`);
  // Characters are code points, as Python counts them; a string has at most as many as it has units.
  const length = value.length > most ? [...value].length : value.length;
  if (length < least || length > most) {
    throw new MessageError(`${key}: expected ${least} to ${most} characters, got ${length}`);
  }
  return value;
};

/** @param {RegExp} expression @returns {Check} */
const pattern = (expression) => (key, value) => {
  if (typeof value !== "string" || !expression.test(value)) {
    throw new MessageError(`${key}: does not match ${expression.source}`);
  }
  return value;
};

/** @param {number} least @param {number} most @returns {Check} */
const integer = (least, most) => (key, value) => {
  if (typeof value !== "number" || !Number.isInteger(value)) {
    throw new MessageError(`${key}: expected an integer`);
  }
  if (value < least || value > most) throw new MessageError(`${key}: expected ${least} to ${most}`);
  return value;
};

/** @param {...string} choices @returns {Check} */
const oneOf = (...choices) => (key, value) => {
  if (typeof value !== "string" || !choices.includes(value)) {
    throw new MessageError(`${key}: expected one of ${choices.join(", ")}`);
  }
  return value;
};

/** @type {Check} */
const boolean = (key, value) => {
  if (typeof value !== "boolean") throw new MessageError(`${key}: expected a boolean`);
  return value;
};

/** Any JSON of bounded depth. @type {Check} */
const anything = (key, value) => {
  let level = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) throw new MessageError(`${key}: nested deeper than ${MAX_DEPTH}`);
    level = level.flatMap((node) =>
      typeof node === "object" && node !== null ? Object.values(node) : [],
    );
  }
  return value;
};

/** @type {Check} */
const iceServers = (key, value) => {
  if (!Array.isArray(value) || !value.every(isObject)) {
    throw new MessageError(`${key}: expected a list of objects`);
  }
  return value;
};

/** @type {Check} */
const limits = (key, value) => {
  if (!isObject(value)) throw new MessageError(`${key}: expected an object`);
  const count = integer(1, 2 ** 31);
  return {
    messageBytes: count(`${key}.messageBytes`, value.messageBytes),
    messagesPer10s: count(`${key}.messagesPer10s`, value.messagesPer10s),
  };
};

/** @type {Check} */
const items = (key, value) => {
  if (!Array.isArray(value)) throw new MessageError(`${key}: expected a list`);
  if (value.length > MAX_ITEMS) throw new MessageError(`${key}: expected at most ${MAX_ITEMS} items`);
  return value.map((item, index) => parseItem(item, `${key}[${index}]`));
};

/** @param {string} key @param {Check} check @returns {Field} */
const field = (key, check) => ({ key, check, required: true, nullable: false });
/** @param {string} key @param {Check} check @returns {Field} */
const optional = (key, check) => ({ key, check, required: false, nullable: false });
/** @param {string} key @param {Check} check @returns {Field} */
const nullable = (key, check) => ({ key, check, required: false, nullable: true });

const sdp = field("sdp", text(MAX_ITEM_BYTES, 1));
const token = text(MAX_TOKEN_BYTES, 1);
const id = pattern(ID_PATTERN);
const room = field("room", pattern(ROOM_PATTERN));
const role = field("role", oneOf("host", "player", "viewer"));
const count = integer(0, MAX_ITEMS);
const milliseconds = integer(0, 3_600_000);

/** @type {Check} */
const replaces = (key, value) => {
  if (!Array.isArray(value)) throw new MessageError(`${key}: expected a list`);
  if (value.length > MAX_REPLACES) throw new MessageError(`${key}: expected at most ${MAX_REPLACES} ids`);
  return value.map((entry, index) => id(`${key}[${index}]`, entry));
};

/** @type {Map<string, Field[]>} */
const ITEM_FIELDS = new Map([
  ["offer", [sdp]],
  ["answer", [sdp]],
  [
    "candidate",
    [
      field("candidate", text(4096)),
      nullable("sdpMid", text(64)),
      nullable("sdpMLineIndex", integer(0, 65535)),
      nullable("usernameFragment", text(256)),
    ],
  ],
  ["control", [field("action", text(64, 1)), nullable("payload", anything)]],
]);

/** @type {Map<string, Field[]>} */
const MESSAGE_FIELDS = new Map([
  [
    "hello",
    [
      room,
      role,
      optional("token", token),
      optional("session", token),
      optional("resume", token),
      optional("capacity", integer(2, 64)),
    ],
  ],
  [
    "welcome",
    [
      field("peer", id),
      room,
      role,
      field("session", token),
      field("resume", token),
      field("resumed", boolean),
      field("iceServers", iceServers),
      field("limits", limits),
    ],
  ],
  ["ice-servers", [field("iceServers", iceServers)]],
  [
    "error",
    [field("code", text(64, 1)), field("message", text(1024)), optional("retryAfterMs", milliseconds)],
  ],
  ["peer-joined", [field("peer", id), role, field("dialect", oneOf("tightbeam", "plain"))]],
  ["peer-left", [field("peer", id), field("reason", oneOf("bye", "lost"))]],
  ["reconnect", [field("afterMs", milliseconds)]],
  ["bye", [field("reason", text(64))]],
  [
    "sync",
    [
      field("to", id),
      field("from", id),
      field("negotiation", id),
      field("at", count),
      field("items", items),
      field("has", count),
      optional("replaces", replaces),
    ],
  ],
  ["ping", []],
  ["pong", []],
]);

/**
 * @param {Record<string, unknown>} object
 * @param {Map<string, Field[]>} shapes
 * @param {string} where
 */
function checked(object, shapes, where) {
  const { type } = object;
  const fields = typeof type === "string" ? shapes.get(type) : undefined;
  if (!fields) throw new MessageError(`${where}type: expected one of ${[...shapes.keys()].join(", ")}`);
  /** @type {Record<string, unknown>} */
  const message = { type };
  for (const { key, check, required, nullable } of fields) {
    if (!Object.hasOwn(object, key)) {
      if (required) throw new MessageError(`${where}${key}: missing`);
    } else if (object[key] !== null || !nullable) {
      message[key] = check(`${where}${key}`, object[key]);
    }
  }
  return message;
}

/**
 * One item of a negotiation log, with its known keys only.
 * @param {unknown} value
 * @param {string} [where]
 * @returns {Item}
 */
export function parseItem(value, where = "message") {
  if (!isObject(value)) throw new MessageError(`${where}: expected an object`);
  return /** @type {Item} */ (checked(value, ITEM_FIELDS, `${where}.`));
}

/**
 * One text frame as a message with its known keys only; throws a MessageError when it is none.
 * @param {string} frame
 * @returns {Message}
 */
export function parse(frame) {
  let value;
  try {
    value = JSON.parse(frame);
  } catch {
    throw new MessageError("expected a JSON object");
  }
  if (!isObject(value)) throw new MessageError("message: expected a JSON object");
  const message = /** @type {Message} */ (checked(value, MESSAGE_FIELDS, ""));
  if (message.type === "hello") {
    const credentials = [message.token, message.session, message.resume];
    if (credentials.filter((value) => value !== undefined).length > 1) {
      throw new MessageError("hello: expected at most one of token, session, resume");
    }
  }
  return message;
}

/**
 * The text frame of a message; optional keys without a value are left out.
 * @param {Message} message
 */
export function encode(message) {
  return JSON.stringify(message);
}
