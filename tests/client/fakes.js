/** A clock that only tests move, sockets that only tests open, and connections that only tests connect. */
import { PeerState } from "../../client/peer.js";
import "./webcrypto.js";

export class Clock {
  now = 100;
  /** @type {Map<number, {at: number, run: () => void}>} */
  timers = new Map();
  #next = 1;

  /** @param {() => void} run @param {number} seconds */
  setTimer = (run, seconds) => {
    this.timers.set(this.#next, { at: this.now + seconds, run });
    return this.#next++;
  };

  /** @param {any} timer */
  clearTimer = (timer) => {
    this.timers.delete(timer);
  };

  /** Let time pass, running what is due in order. @param {number} seconds */
  pass(seconds) {
    const end = this.now + seconds;
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.now = Math.max(this.now, due[1].at);
      due[1].run();
    }
    this.now = end;
  }
}

export class FakeSocket {
  /** @type {any[]} */
  sent = [];
  closed = false;
  /** Whether the node no longer answers pings. */
  silent = false;
  /** @type {any} */ onopen = null;
  /** @type {any} */ onmessage = null;
  /** @type {any} */ onclose = null;

  /** @param {Clock} clock */
  constructor(clock) {
    this.clock = clock;
  }

  /** @param {string} frame */
  send(frame) {
    const message = JSON.parse(frame);
    this.sent.push(message);
    if (message.type === "ping" && !this.silent) this.clock.setTimer(() => this.say({ type: "pong" }), 0.01);
  }

  close() {
    this.closed = true;
  }

  open() {
    this.onopen?.();
  }

  /** @param {object | string} message */
  say(message) {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  /** @param {number} code @param {string} [reason] */
  end(code, reason = "") {
    this.onclose?.({ code, reason });
  }
}

export class FakePeer {
  state = PeerState.CONNECTING;
  closed = false;
  /** What it took over. @type {any[]} */
  carried = [];
  input = { carry: (/** @type {any} */ former) => this.carried.push(former) };
  /** @type {any[]} */
  applied = [];

  /** @param {any} iceServers @param {any} listener */
  constructor(iceServers, listener) {
    this.iceServers = iceServers;
    this.listener = listener;
  }

  /** @param {any} item */
  apply(item) {
    this.applied.push(item);
  }

  /** @param {any} state */
  become(state) {
    this.state = state;
    this.listener.onState(state);
  }

  close() {
    this.closed = true;
  }
}

/** All that a Session needs, under the test's control. */
export class FakeWorld extends Clock {
  /** @type {FakeSocket[]} */
  sockets = [];
  /** @type {FakePeer[]} */
  peers = [];

  get world() {
    return {
      now: () => this.now,
      random: () => 0.5,
      setTimer: this.setTimer,
      clearTimer: this.clearTimer,
      socket: () => {
        this.sockets.push(new FakeSocket(this));
        return /** @type {any} */ (this.sockets.at(-1));
      },
      peer: (/** @type {any} */ iceServers, /** @type {any} */ listener) => {
        this.peers.push(new FakePeer(iceServers, listener));
        return /** @type {any} */ (this.peers.at(-1));
      },
    };
  }

  get socket() {
    return /** @type {FakeSocket} */ (this.sockets.at(-1));
  }

  get peer() {
    return /** @type {FakePeer} */ (this.peers.at(-1));
  }
}

export const ME = "P".repeat(22);
export const HOST = "H".repeat(22);

/** @param {object} [changes] */
export function welcome(changes) {
  return {
    type: "welcome",
    peer: ME,
    room: "desk",
    role: "player",
    session: "session",
    resume: "resume",
    resumed: false,
    iceServers: [],
    limits: { messageBytes: 262144, messagesPer10s: 200 },
    ...changes,
  };
}
