/**
 * The page's WebSocket to any node: joins the room, comes back after a loss, and says goodbye (docs/protocol.md 3).
 *
 * Flow: session.js sends and receives negotiation logs through it. It knows nothing of media.
 *
 * @typedef {import("./messages.js").Message} Message
 * @typedef {import("./messages.js").Welcome} Welcome
 * @typedef {{
 *   onWelcome: (welcome: Welcome) => void,
 *   onMessage: (message: Message) => void,
 *   onLost: (retryInS: number) => void,
 *   onRefused: (code: string) => void,
 * }} Listener `onRefused` is final: a code of docs/protocol.md 3.1, or one of `REFUSALS`' values
 * @typedef {{
 *   socket: (url: string, protocol: string) => WebSocket,
 *   setTimer: (run: () => void, seconds: number) => unknown,
 *   clearTimer: (timer: any) => void,
 *   random: () => number,
 * }} World what signaling needs of the browser; tests bring their own
 */
import { Backoff } from "./backoff.js";
import { MessageError, SUBPROTOCOL, encode, parse } from "./messages.js";

/** @enum {string} */
export const SignalingState = Object.freeze({
  CLOSED: "closed",
  CONNECTING: "connecting",
  JOINING: "joining",
  JOINED: "joined",
  WAITING: "waiting",
});

const PING_AFTER_S = 2.5;
/** Nothing heard for this long after a ping: the socket is dead, whatever the system says. */
const PONG_WITHIN_S = 3;
/** TCP, TLS and upgrade: a node that went without a word must not hold the page for long. */
const OPEN_WITHIN_S = 4;
/** A node may hold a join for six seconds while Redis comes back. */
const WELCOME_WITHIN_S = 8;

/** Closes that no new attempt can cure, by reason, where no `error` came before. */
const REFUSALS = new Map([
  ["superseded", "superseded"],
  ["Origin not allowed", "origin"],
  ["Host not allowed", "host-name"],
]);
/** Errors after which the same hello can work later. */
const PASSING = new Set(["hello-timeout", "rate-limited", "unavailable"]);
/** Errors that leave a joined socket open and concern one frame only. */
const OF_ONE_FRAME = new Set(["bad-message", "no-such-peer", "rate-limited"]);

export class Signaling {
  /** @type {SignalingState} */
  state = SignalingState.CLOSED;
  /** @type {WebSocket | null} */
  #socket = null;
  /** What ends the wait for the node or for the next attempt. @type {unknown} */
  #timer = null;
  /** When this node asked to leave for another one. @type {unknown} */
  #moveTimer = null;
  /** @type {Array<{key: "token" | "session" | "resume", value: string} | null>} */
  #credentials = [];
  #refusal = "";
  #retryAfterS = 0;

  /**
   * @param {string} url of any node
   * @param {string} room
   * @param {Listener} listener
   * @param {World} world
   */
  constructor(url, room, listener, world) {
    this.url = url;
    this.room = room;
    this.listener = listener;
    this.world = world;
    this.backoff = new Backoff(world.random);
  }

  /**
   * Join with the first credential that the node accepts, and with none in the end (`--no-pairing`).
   * @param {{token?: string | null, session?: string | null}} credentials
   */
  open({ token, session }) {
    this.#credentials = [null];
    if (session) this.#credentials.unshift({ key: "session", value: session });
    if (token) this.#credentials.unshift({ key: "token", value: token });
    this.backoff.reset();
    this.#connect();
  }

  /** Whether a message went out; only a joined socket takes any. @param {Message} message */
  send(message) {
    if (this.state !== SignalingState.JOINED || !this.#socket) return false;
    this.#socket.send(encode(message));
    return true;
  }

  /** The session is over: the others are told, and nothing comes back. @param {string} reason */
  leave(reason) {
    this.send({ type: "bye", reason });
    this.#stop();
  }

  /** Try again now instead of at the end of the wait. */
  hurry() {
    if (this.state === SignalingState.WAITING) this.#connect();
  }

  #connect() {
    this.#drop();
    this.state = SignalingState.CONNECTING;
    this.#refusal = "";
    this.#retryAfterS = 0;
    const socket = this.world.socket(this.url, SUBPROTOCOL);
    this.#socket = socket;
    socket.onopen = () => this.#hello();
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#wait(OPEN_WITHIN_S, () => this.#closed(1006, "not open in time"));
  }

  #hello() {
    this.state = SignalingState.JOINING;
    this.#wait(WELCOME_WITHIN_S, () => this.#closed(1006, "no welcome in time"));
    const credential = this.#credentials[0];
    const hello = { type: /** @type {const} */ ("hello"), room: this.room, role: /** @type {const} */ ("player") };
    this.#socket?.send(encode(credential ? { ...hello, [credential.key]: credential.value } : hello));
  }

  /** @param {unknown} frame */
  #receive(frame) {
    if (typeof frame !== "string") return;
    let message;
    try {
      message = parse(frame);
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      console.warn("The node sent a message that is none:", error.message);
      return;
    }
    if (this.state === SignalingState.JOINED) this.#listen();
    if (message.type === "welcome") this.#welcomed(message);
    else if (message.type === "error") this.#error(message);
    else if (message.type === "reconnect") this.#move(message.afterMs / 1000);
    else if (message.type !== "pong") this.listener.onMessage(message);
  }

  /** @param {Welcome} welcome */
  #welcomed(welcome) {
    this.state = SignalingState.JOINED;
    this.backoff.reset();
    this.#credentials = [
      { key: "resume", value: welcome.resume },
      { key: "session", value: welcome.session },
      null,
    ];
    this.#listen();
    this.listener.onWelcome(welcome);
  }

  /** @param {import("./messages.js").ErrorMessage} error */
  #error({ code, message, retryAfterMs = 0 }) {
    console.warn(`The node says ${code}: ${message}`);
    if (OF_ONE_FRAME.has(code) && this.state === SignalingState.JOINED) return;
    this.#refusal = code;
    this.#retryAfterS = retryAfterMs / 1000;
  }

  /** This node is about to go: join at another one. @param {number} afterS */
  #move(afterS) {
    this.world.clearTimer(this.#moveTimer);
    this.#moveTimer = this.world.setTimer(() => this.#connect(), afterS);
  }

  /** @param {number} code @param {string} reason */
  #closed(code, reason) {
    this.#drop();
    const refusal = this.#refusal || (code === 1000 || code === 1008 ? REFUSALS.get(reason) : "") || "";
    if (refusal === "unauthorized" && this.#credentials.length > 1) {
      this.#credentials.shift();
      this.#connect();
    } else if (refusal && !PASSING.has(refusal)) {
      this.#stop();
      this.listener.onRefused(refusal);
    } else {
      const wait = this.backoff.next(this.#retryAfterS);
      this.state = SignalingState.WAITING;
      this.#wait(wait, () => this.#connect());
      this.listener.onLost(wait);
    }
  }

  /** After each message: silence is broken by a ping, and more silence means that the socket is dead. */
  #listen() {
    this.#wait(PING_AFTER_S, () => {
      this.send({ type: "ping" });
      this.#wait(PONG_WITHIN_S, () => this.#closed(1006, "no pong in time"));
    });
  }

  /** The one thing that is waited for. @param {number} seconds @param {() => void} run */
  #wait(seconds, run) {
    this.world.clearTimer(this.#timer);
    this.#timer = this.world.setTimer(run, seconds);
  }

  #drop() {
    this.world.clearTimer(this.#timer);
    this.world.clearTimer(this.#moveTimer);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #stop() {
    this.#drop();
    this.state = SignalingState.CLOSED;
  }
}
