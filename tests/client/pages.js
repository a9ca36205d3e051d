/**
 * Pages without a browser, for tests with real nodes: `node pages.js URL ROOM COUNT` runs the page's own session and
 * signaling, each with a connection that is up as soon as it is answered. Every line of output is a JSON object: what happened.
 */
import { WebSocket } from "ws";
import { SessionStore } from "../../client/link.js";
import { PeerState } from "../../client/peer.js";
import { Session, State } from "../../client/session.js";
import "./webcrypto.js";

const CANDIDATES = 20;
const CANDIDATE_EVERY_S = 0.2;
const [url, room, count] = process.argv.slice(2);
const now = () => performance.now() / 1000;
const setTimer = (run, seconds) => setTimeout(run, seconds * 1000);

/** In the place of an RTCPeerConnection: it offers, and says candidates for as long as it lives. */
class Connection {
  state = PeerState.CONNECTING;
  input = {};
  #said = 0;

  constructor(listener, report) {
    this.listener = listener;
    this.report = report;
    setTimer(() => listener.onItem({ type: "offer", sdp: "offer" }), 0);
  }

  apply(item) {
    this.report({ applied: item });
    if (item.type !== "answer") return;
    this.state = PeerState.CONNECTED;
    this.listener.onState(this.state);
    this.timer = setInterval(() => this.#candidate(), CANDIDATE_EVERY_S * 1000);
  }

  #candidate() {
    if (this.#said === CANDIDATES) return this.close();
    this.listener.onItem({ type: "candidate", candidate: `of page:${this.#said++}`, sdpMid: null, sdpMLineIndex: null });
  }

  close() {
    clearInterval(this.timer);
  }
}

function openPage(page) {
  const report = (what) => console.log(JSON.stringify({ page, ...what }));
  const world = {
    now,
    setTimer,
    clearTimer: clearTimeout,
    random: Math.random,
    socket: (to, protocol) => {
      report({ socket: now() });
      return new WebSocket(to, protocol);
    },
    peer: (_iceServers, listener) => new Connection(listener, report),
  };
  const listener = {
    onStatus: ({ state, reason }) => {
      report({ state, reason });
      if (state === State.NEGOTIATING && reason === "picture") setTimer(() => session.pictureArrived(), 0);
    },
    onNotice: (notice) => report({ notice }),
    onTrack: () => {},
    onStats: () => {},
  };
  const session = new Session({ url, room }, new SessionStore(null), listener, world);
  session.start(null);
}

for (let page = 0; page < Number(count); page++) openPage(page);
