/**
 * A session with a host, from the first hello to the goodbye: which state it is in, and what happens next.
 *
 * Flow: signaling.js and peer.js report, this decides, main.js shows. No DOM and no clock of its own, so that every
 * path can be tested: time, sockets and connections come with `World`.
 *
 * @typedef {import("./messages.js").Item} Item
 * @typedef {import("./messages.js").Message} Message
 * @typedef {import("./peer.js").Peer} Peer
 * @typedef {import("./peer.js").PeerListener} PeerListener
 * @typedef {{state: State, reason: string, until: number | null, message: string}} Status `reason` is a key of
 *   words.js; `until`: when the next attempt begins, in seconds of `World.now`; `message`: the host's own words
 * @typedef {{
 *   onStatus: (status: Status) => void,
 *   onNotice: (notice: string | null) => void,
 *   onTrack: (track: MediaStreamTrack) => void,
 *   onStats: (message: ArrayBuffer) => void,
 *   onCursor: (peer: Peer, message: ArrayBuffer) => void,
 * }} SessionListener
 * @typedef {import("./signaling.js").World & {
 *   now: () => number,
 *   peer: (iceServers: RTCIceServer[], listener: PeerListener) => Peer,
 * }} World
 */
import { Backoff } from "./backoff.js";
import { LogFullError, Negotiation, newId } from "./negotiation.js";
import { PeerState } from "./peer.js";
import { Signaling, SignalingState } from "./signaling.js";
import { hostNotice } from "./words.js";

/** @enum {string} As `<body data-state>` shows it. */
export const State = Object.freeze({
  IDLE: "idle",
  JOINING: "joining",
  WAITING: "waiting",
  NEGOTIATING: "negotiating",
  PLAYING: "playing",
  LOST: "lost",
  ENDED: "ended",
  FAILED: "failed",
});

/** An interruption shorter than this heals by itself (a few lost checks): browsers took seconds to notice it. */
const HEAL_S = 1;
/** So much later it is a loss where no second connection can be made. */
const GRACE_S = 2;
/** From the second connection's offer until it carries: for so long the last picture stays as it is. */
const SECOND_WITHIN_S = 10;
/** From the offer to the first picture. */
const NEGOTIATE_WITHIN_S = 20;
/** This many connections that failed without a single picture mean that more of the same will not help. */
const MOST_ATTEMPTS = 6;
/** A session that ran this long was a good one: the next back-off begins anew. */
const GOOD_AFTER_S = 10;
/** Long enough to read the words. */
const RETRY_LEAST_S = 1;
/** The host does not say when what it gave notice of is over. */
const NOTICE_S = 15;

/** The host's own words in a control, cut to what the page has room for. @param {unknown} payload */
function words(payload) {
  const said = /** @type {{message?: unknown} | null | undefined} */ (payload)?.message;
  return typeof said === "string" ? said.slice(0, 200) : "";
}

export class Session {
  /** @type {Status} */
  status = { state: State.IDLE, reason: "", until: null, message: "" };
  /** What is shown, and where input goes. @type {Peer | null} */
  peer = null;
  /** What takes its place once it is connected: make before break. @type {{peer: Peer, tracks: MediaStreamTrack[]} | null} */
  #second = null;
  /** The newest, in which the host says everything, also when its connection has failed. @type {Negotiation | null} */
  #negotiation = null;
  /** The connection that it is about, while there is one. @type {Peer | null} */
  #negotiating = null;
  /** What the next negotiation replaces. @type {string[]} */
  #left = [];
  #me = "";
  /** @type {string | null} */
  #host = null;
  /** The host of `peer`. @type {string | null} */
  #peerHost = null;
  /** The host of the connection that was lost. @type {string | null} */
  #lostHost = null;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  /** Why signaling is over for good, while the picture goes on. */
  #refused = "";
  /** Whether the host answered the offer of this negotiation. */
  #answered = false;
  /** How many connections have failed before the first picture. */
  #failures = 0;
  #played = false;
  /** When the last session's picture came, until its end was judged by it. */
  #playingSince = Infinity;
  /** @type {unknown} */
  #timer = null;
  /** @type {unknown} */
  #graceTimer = null;
  /** @type {unknown} */
  #secondTimer = null;
  /** Of what has taken the first one's place and has shown nothing yet. @type {unknown} */
  #pictureTimer = null;
  /** @type {unknown} */
  #pumpTimer = null;
  /** @type {unknown} */
  #noticeTimer = null;

  /**
   * @param {{url: string, room: string}} where the node's WebSocket and the room
   * @param {import("./link.js").SessionStore} store
   * @param {SessionListener} listener
   * @param {World} world
   */
  constructor({ url, room }, store, listener, world) {
    this.room = room;
    this.store = store;
    this.listener = listener;
    this.world = world;
    this.backoff = new Backoff(world.random, 2);
    this.signaling = new Signaling(
      url,
      room,
      {
        onWelcome: (welcome) => this.#welcomed(welcome),
        onMessage: (message) => this.#receive(message),
        onLost: (retryInS) => this.#signalingLost(retryInS),
        onRefused: (code) => this.#signalingRefused(code),
      },
      world,
    );
  }

  /** Where input goes now. */
  get input() {
    return this.status.state === State.PLAYING ? (this.peer?.input ?? null) : null;
  }

  /** @param {string | null} token of the link, used up by this */
  start(token) {
    this.#become(State.JOINING, "joining");
    this.signaling.open({ token, session: this.store.load(this.room) });
  }

  /** The user does not want to wait for the next attempt. */
  hurry() {
    this.signaling.hurry();
    if (this.status.state === State.LOST || this.status.reason === "busy") this.#again();
  }

  /** The user goes, or the page does: the host is told. @param {string} reason */
  leave(reason) {
    this.#finish(State.IDLE, "", reason);
  }

  /** The first frame of the current connection is on the screen. */
  pictureArrived() {
    this.world.clearTimer(this.#pictureTimer);
    if (this.status.state !== State.NEGOTIATING) return;
    this.#played = true;
    this.#playingSince = this.world.now();
    this.#become(State.PLAYING, "playing");
    if (this.signaling.state !== SignalingState.JOINED) this.#notice("signaling-lost");
    if (this.peer?.state === PeerState.INTERRUPTED) this.#interrupted();
  }

  /**
   * @param {State} state
   * @param {string} reason
   * @param {{afterS?: number, then?: () => void, message?: string}} [next] what happens when nothing else does
   */
  #become(state, reason, { afterS, then, message = "" } = {}) {
    this.world.clearTimer(this.#timer);
    if (then && afterS !== undefined) this.#timer = this.world.setTimer(then, afterS);
    const counted = state !== State.NEGOTIATING && afterS !== undefined;
    this.status = { state, reason, message, until: counted ? this.world.now() + afterS : null };
    this.listener.onStatus(this.status);
  }

  /** @param {import("./messages.js").Welcome} welcome */
  #welcomed({ peer, session, iceServers }) {
    this.store.save(this.room, session);
    this.#iceServers = iceServers;
    this.#host = null; // told again by a peer-joined
    this.#notice(null);
    if (this.#me === peer) this.#reconnected();
    this.#me = peer;
    if (this.#negotiation?.me !== peer) this.#dropSecond();
    const { state } = this.status;
    if (state === State.JOINING) this.#become(State.WAITING, "no-host");
    if (state === State.NEGOTIATING && this.#negotiation?.me !== peer) {
      this.#drop(); // it went out under a name that we no longer have
      this.#become(State.WAITING, "no-host");
    }
  }

  /** @param {Message} message */
  #receive(message) {
    if (message.type === "peer-joined" && message.role === "host") this.#hostJoined(message.peer);
    else if (message.type === "peer-left" && message.peer === this.#host) this.#hostLeft(message.reason);
    else if (message.type === "sync") this.#sync(message);
    else if (message.type === "ice-servers") this.#iceServers = message.iceServers;
  }

  /** @param {string} host */
  #hostJoined(host) {
    this.#host = host;
    if (this.#negotiation?.other !== host) this.#dropSecond();
    const { state, reason } = this.status;
    if (this.#negotiation?.other === host && this.#negotiation.me === this.#me) this.#reconnected();
    else if (state === State.NEGOTIATING) this.#negotiate();
    if (state === State.WAITING && reason !== "busy") this.#negotiate();
    if (state === State.LOST && host !== this.#lostHost) this.#negotiate();
  }

  /** @param {"bye" | "lost"} reason */
  #hostLeft(reason) {
    this.#host = null;
    if (reason === "bye") {
      this.#finish(State.ENDED, "host-ended", "host ended");
    } else if (this.status.state === State.NEGOTIATING) {
      this.#drop();
      this.#become(State.WAITING, "no-host");
    } else if (this.status.state === State.WAITING) {
      this.#become(State.WAITING, "no-host");
    } // lost while playing: the picture says itself whether it goes on
  }

  /** @param {import("./messages.js").Sync} sync */
  #sync(sync) {
    const negotiation = this.#negotiation;
    if (!negotiation || sync.negotiation !== negotiation.negotiation || sync.from !== negotiation.other) return;
    for (const item of negotiation.receive(sync, this.world.now())) {
      if (negotiation !== this.#negotiation) return; // a control ended it
      if (item.type === "control") this.#control(item);
      else {
        this.#answered ||= item.type === "answer";
        this.#negotiating?.apply(item);
      }
    }
    this.#pump();
  }

  /** @param {import("./messages.js").Control} control */
  #control({ action, payload }) {
    if (action === "renegotiate") {
      const { keep } = /** @type {{keep?: unknown}} */ (payload ?? {});
      if (keep !== true || !this.#makeSecond()) this.#again();
    } else if (action === "busy" && this.#second) {
      this.#dropSecond();
    } else if (action === "busy" && this.#negotiating) {
      const message = words(payload);
      this.#drop();
      const afterS = this.backoff.next(RETRY_LEAST_S);
      this.#become(State.WAITING, "busy", { afterS, then: () => this.#again(), message });
    } else if (action === "ended") {
      this.#finish(State.ENDED, "ended", "ended by the host");
    } else if (action === "notice" && this.status.state === State.PLAYING) {
      this.#notice(hostNotice(words(payload)));
      this.#noticeTimer = this.world.setTimer(() => this.#notice(null), NOTICE_S);
    }
  }

  /** @param {string | null} notice */
  #notice(notice) {
    this.world.clearTimer(this.#noticeTimer);
    this.listener.onNotice(notice);
  }

  #negotiate() {
    const host = this.#host;
    if (host === null) return;
    this.#drop();
    const negotiation = this.#offerTo(host);
    this.#peerHost = host;
    this.#become(State.NEGOTIATING, "negotiating", { afterS: NEGOTIATE_WITHIN_S, then: () => this.#lose() });
    this.peer = this.#connect(negotiation);
  }

  /** @param {Negotiation} negotiation */
  #connect(negotiation) {
    const peer = this.world.peer(this.#iceServers, {
      onItem: (item) => this.#negotiating === peer && this.#say(negotiation, item),
      onTrack: (track) => this.#tracks(peer, track),
      onState: (state) => this.#peerIs(peer, state),
      onStats: (message) => this.peer === peer && this.listener.onStats(message),
      onCursor: (message) => this.peer === peer && this.listener.onCursor(peer, message),
    });
    this.#negotiating = peer;
    return peer;
  }

  /** Those of a second connection are shown when it takes the other's place. @param {Peer} peer @param {MediaStreamTrack} track */
  #tracks(peer, track) {
    if (peer === this.#second?.peer) this.#second.tracks.push(track);
    else if (peer === this.peer) this.listener.onTrack(track);
  }

  /**
   * A second connection beside the one that plays, or that did until its way fell silent; false where there cannot be
   * one. Once it is begun it takes the other's place, also when that has healed: the host knows the newest only.
   */
  #makeSecond() {
    const host = this.#host;
    const beside = this.status.state === State.PLAYING && this.peer !== null;
    if (!beside || host === null || host !== this.#peerHost) return false;
    if (this.signaling.state !== SignalingState.JOINED) return false;
    if (this.#second) return true;
    this.#second = { peer: this.#connect(this.#offerTo(host)), tracks: [] };
    this.#secondTimer = this.world.setTimer(() => this.#dropSecond(), SECOND_WITHIN_S);
    return true;
  }

  /** @param {{peer: Peer, tracks: MediaStreamTrack[]}} second @param {PeerState} state */
  #secondIs(second, state) {
    if (state === PeerState.CONNECTED) this.#move(second);
    else if (state === PeerState.FAILED) this.#dropSecond();
  }

  /**
   * The second connection is the one from now on.
   * @param {{peer: Peer, tracks: MediaStreamTrack[]}} second
   */
  #move({ peer, tracks }) {
    this.world.clearTimer(this.#secondTimer);
    this.world.clearTimer(this.#graceTimer);
    this.world.clearTimer(this.#pictureTimer);
    this.#second = null;
    const former = this.peer;
    this.peer = peer;
    if (former) peer.input.carry(former.input);
    this.#notice(this.signaling.state === SignalingState.JOINED ? null : "signaling-lost");
    for (const track of tracks) this.listener.onTrack(track);
    this.listener.onStatus(this.status); // whoever measures has another connection to measure
    former?.close();
    this.#pictureTimer = this.world.setTimer(() => this.#lose(), NEGOTIATE_WITHIN_S);
  }

  /** The second connection did not come about: is the first one still good? To the host this negotiation is the newest. */
  #dropSecond() {
    const second = this.#second;
    if (!second) return;
    this.world.clearTimer(this.#secondTimer);
    this.#negotiating = null;
    this.#second = null;
    second.peer.close();
    if (this.peer?.state !== PeerState.CONNECTED) this.#lose();
  }

  /** A negotiation in the place of the last one. @param {string} host */
  #offerTo(host) {
    this.world.clearTimer(this.#pumpTimer);
    this.#left = this.#negotiation?.leaves() ?? this.#left;
    this.#answered = false;
    this.#negotiation = new Negotiation(this.#me, host, newId(), this.#left);
    return this.#negotiation;
  }

  /** @param {Negotiation} negotiation @param {Item} item */
  #say(negotiation, item) {
    try {
      negotiation.say(item);
    } catch (error) {
      if (!(error instanceof LogFullError)) throw error;
      console.warn("This machine has more ICE candidates than a negotiation can carry:", error.message);
    }
    this.#pump();
  }

  /** @param {Peer} peer @param {PeerState} state */
  #peerIs(peer, state) {
    if (this.#second?.peer === peer) return this.#secondIs(this.#second, state);
    if (this.peer !== peer) return;
    this.world.clearTimer(this.#graceTimer);
    if (state === PeerState.FAILED && !this.#second) this.#lose();
    else if (state === PeerState.INTERRUPTED) this.#interrupted();
    else if (state === PeerState.CONNECTED) {
      if (this.status.state === State.PLAYING) this.#notice(null);
      else this.#become(State.NEGOTIATING, "picture", { afterS: NEGOTIATE_WITHIN_S, then: () => this.#lose() });
    }
  }

  #interrupted() {
    if (this.status.state !== State.PLAYING) return;
    this.#notice("interrupted");
    this.#graceTimer = this.world.setTimer(() => {
      if (!this.#makeSecond()) this.#graceTimer = this.world.setTimer(() => this.#lose(), GRACE_S);
    }, HEAL_S);
  }

  /** Why the connection that is being lost never showed a picture. */
  get #obstacle() {
    if (this.status.reason === "picture") return "no-picture";
    return this.#answered ? "unreachable" : "no-answer";
  }

  /** The connection is gone, or none came about: a new negotiation after a while. */
  #lose() {
    if (this.world.now() - this.#playingSince > GOOD_AFTER_S) this.backoff.reset();
    this.#playingSince = Infinity;
    this.#lostHost = this.#peerHost;
    const reason = this.#played ? "lost" : this.#obstacle;
    this.#drop();
    this.#notice(null);
    if (this.#refused) return this.#finish(State.FAILED, this.#refused, "refused");
    if (!this.#played && ++this.#failures >= MOST_ATTEMPTS) return this.#finish(State.FAILED, reason, "no connection");
    const afterS = this.backoff.next(RETRY_LEAST_S);
    this.#become(State.LOST, reason, { afterS, then: () => this.#again() });
  }

  #again() {
    this.#drop();
    if (this.signaling.state !== SignalingState.JOINED) this.#become(State.JOINING, "rejoining");
    else if (this.#host === null) this.#become(State.WAITING, "no-host");
    else this.#negotiate();
  }

  /** @param {number} retryInS */
  #signalingLost(retryInS) {
    const { state, reason } = this.status;
    if (state === State.PLAYING) this.#notice("signaling-lost");
    if (state === State.JOINING || (state === State.WAITING && reason !== "busy")) {
      this.#become(State.JOINING, "rejoining", { afterS: retryInS });
    }
  }

  /** @param {string} code */
  #signalingRefused(code) {
    if (code === "unauthorized") this.store.forget(this.room);
    if (this.status.state === State.PLAYING) {
      this.#refused = code;
      this.#notice("signaling-refused");
    } else {
      this.#finish(State.FAILED, code, "refused");
    }
  }

  #reconnected() {
    this.#negotiation?.reconnected();
    this.#pump();
  }

  /** Send what the negotiation has to say, now and when its time comes. */
  #pump() {
    this.world.clearTimer(this.#pumpTimer);
    const negotiation = this.#negotiation;
    if (!negotiation || this.signaling.state !== SignalingState.JOINED) return;
    if (negotiation.me !== this.#me) return; // a node refuses whoever speaks under another name
    const now = this.world.now();
    for (let sync; (sync = negotiation.poll(now)); ) this.signaling.send(sync);
    const deadline = negotiation.nextDeadline();
    if (deadline !== null) this.#pumpTimer = this.world.setTimer(() => this.#pump(), deadline - now);
  }

  /** The one way in which a connection ends. Idempotent. */
  #drop() {
    this.world.clearTimer(this.#graceTimer);
    this.world.clearTimer(this.#secondTimer);
    this.world.clearTimer(this.#pictureTimer);
    this.world.clearTimer(this.#pumpTimer);
    this.#left = this.#negotiation?.leaves() ?? this.#left;
    this.#negotiation = this.#negotiating = null;
    this.#second?.peer.close();
    this.#second = null;
    this.peer?.close();
    this.peer = null;
  }

  /** @param {State} state @param {string} reason what the user is told @param {string} bye what the host is told */
  #finish(state, reason, bye) {
    this.#drop();
    this.signaling.leave(bye);
    this.#refused = "";
    this.#notice(null);
    this.#become(state, reason);
  }
}
