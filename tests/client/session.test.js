/** Signaling and session: every way in, every way out, with a clock that is a variable. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SessionStore } from "../../client/link.js";
import { PeerState } from "../../client/peer.js";
import { Session } from "../../client/session.js";
import { NOTICES, sentence } from "../../client/words.js";
import { FakeWorld, HOST, ME, welcome } from "./fakes.js";
import { cases, seeded } from "./vectors.js";

console.warn = () => {}; // what the page tells its developers is not what is tested

/** @param {{token?: string | null, kept?: string}} [options] */
function begin({ token = null, kept } = {}) {
  const fake = new FakeWorld();
  const memory = new Map();
  const storage = /** @type {any} */ ({
    getItem: (/** @type {string} */ key) => memory.get(key) ?? null,
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => memory.set(key, value),
    removeItem: (/** @type {string} */ key) => memory.delete(key),
  });
  const store = new SessionStore(storage);
  if (kept) store.save("desk", kept);
  /** @type {(string | null)[]} */
  const notices = [];
  /** @type {any[]} */
  const tracks = [];
  const listener = {
    onStatus: () => {},
    onNotice: (/** @type {string | null} */ notice) => notices.push(notice),
    onTrack: (/** @type {any} */ track) => tracks.push(track),
    onStats: () => {},
    onCursor: () => {},
  };
  const session = new Session({ url: "ws://node/ws", room: "desk" }, store, listener, fake.world);
  session.start(token);
  const state = () => session.status.state;
  const join = (changes = {}) => {
    fake.socket.open();
    fake.socket.say(welcome(changes));
  };
  const hostJoins = (peer = HOST) =>
    fake.socket.say({ type: "peer-joined", peer, role: "host", dialect: "tightbeam" });
  const hostLeaves = (/** @type {string} */ reason) => fake.socket.say({ type: "peer-left", peer: HOST, reason });
  const play = () => {
    join();
    hostJoins();
    fake.peer.listener.onItem({ type: "offer", sdp: "offer" });
    fake.peer.become(PeerState.CONNECTED);
    session.pictureArrived();
  };
  const hello = () => fake.socket.sent.find(({ type }) => type === "hello");
  return { fake, session, store, notices, tracks, state, join, hostJoins, hostLeaves, play, hello };
}

const refuse = (/** @type {any} */ fake, /** @type {string} */ code, close = 1008, more = {}) => {
  fake.socket.open();
  fake.socket.say({ type: "error", code, message: "no", ...more });
  fake.socket.end(close);
};

/** The host answers the page's newest offer with an item. @param {any} fake @param {any} item */
function hostSays(fake, item) {
  fake.peer.listener.onItem({ type: "offer", sdp: "offer" });
  const sync = fake.socket.sent.at(-1);
  fake.socket.say({ ...sync, to: ME, from: HOST, at: 0, items: [item], has: 1 });
}

const ANSWER = { type: "answer", sdp: "answer" };
const BUSY = { type: "control", action: "busy", payload: { message: "The display is asleep." } };

test("joining, waiting, negotiating, playing", () => {
  const { fake, session, state, join, hostJoins, store } = begin({ token: "T" });
  assert.equal(state(), "joining");
  join();
  assert.equal(fake.socket.sent[0].token, "T");
  assert.equal(store.load("desk"), "session");
  assert.equal(state(), "waiting");
  hostJoins();
  assert.equal(state(), "negotiating");
  fake.peer.listener.onItem({ type: "offer", sdp: "offer" });
  const sync = fake.socket.sent.at(-1);
  assert.deepEqual([sync.type, sync.to, sync.from, sync.items[0].sdp], ["sync", HOST, ME, "offer"]);
  const back = { ...sync, to: ME, from: HOST, has: 1, items: [{ type: "answer", sdp: "answer" }] };
  fake.socket.say({ ...back, from: "X".repeat(22) });
  fake.socket.say({ ...back, negotiation: "n".repeat(22) });
  assert.deepEqual(fake.peer.applied, []);
  fake.socket.say(back);
  fake.socket.say(back);
  assert.deepEqual(fake.peer.applied, [{ type: "answer", sdp: "answer" }]);
  assert.equal(session.input, null);
  fake.peer.become(PeerState.CONNECTED);
  assert.equal(session.status.reason, "picture");
  session.pictureArrived();
  assert.equal(state(), "playing");
  assert.equal(session.input, fake.peer.input);
});

test("credentials are tried in order: token, session, none", () => {
  const { fake, state, hello, store } = begin({ token: "T", kept: "S" });
  refuse(fake, "unauthorized");
  fake.socket.open();
  assert.equal(hello().session, "S");
  fake.socket.say({ type: "error", code: "unauthorized", message: "no" });
  fake.socket.end(1008);
  fake.socket.open();
  assert.deepEqual(hello(), { type: "hello", room: "desk", role: "player" });
  fake.socket.say({ type: "error", code: "unauthorized", message: "no" });
  fake.socket.end(1008);
  assert.equal(state(), "failed");
  assert.equal(store.load("desk"), null);
  fake.pass(100);
  assert.equal(fake.sockets.length, 3);
});

for (const code of ["forbidden", "room-full", "host-present", "bad-message"]) {
  test(`${code} is final and said in words`, () => {
    const { fake, session, state } = begin();
    refuse(fake, code);
    assert.equal(state(), "failed");
    assert.doesNotMatch(sentence(session.status, 0), /\(/);
    fake.pass(100);
    assert.equal(fake.sockets.length, 1);
  });
}

for (const code of ["rate-limited", "unavailable", "hello-timeout"]) {
  test(`${code} passes: the page comes back, not before it was asked to`, () => {
    const { fake, state } = begin();
    refuse(fake, code, 1013, { retryAfterMs: 3000 });
    assert.equal(state(), "joining");
    fake.pass(2.9);
    assert.equal(fake.sockets.length, 1);
    fake.pass(0.6);
    assert.equal(fake.sockets.length, 2);
  });
}

test("a rate limit while joined is of that moment: a later close still means what it says", () => {
  const { fake, join } = begin();
  join();
  fake.socket.say({ type: "error", code: "rate-limited", message: "no", retryAfterMs: 9000 });
  fake.socket.end(1000, "superseded");
  fake.pass(100);
  assert.equal(fake.sockets.length, 1);
});

test("a node that does not answer is tried again, ever later", () => {
  const { fake, state } = begin();
  const waits = [];
  for (let i = 0; i < 8; i++) {
    const began = fake.now;
    fake.socket.end(1006);
    while (fake.sockets.length === i + 1) fake.pass(0.125);
    waits.push(fake.now - began);
  }
  assert.deepEqual(waits, [0.25, 0.5, 1, 2, 4, 7.5, 7.5, 7.5]);
  assert.equal(state(), "joining");
});

test("a socket that falls silent is replaced, with resume", () => {
  const { fake, play, hello, state, notices } = begin();
  play();
  fake.pass(60);
  assert.ok(fake.socket.sent.some(({ type }) => type === "ping"));
  assert.equal(fake.sockets.length, 1);
  fake.socket.silent = true;
  fake.pass(6);
  assert.equal(notices.at(-1), "signaling-lost");
  assert.equal(fake.sockets.length, 2);
  fake.socket.open();
  assert.equal(hello().resume, "resume");
  fake.socket.say(welcome({ resumed: true }));
  assert.equal(notices.at(-1), null);
  assert.equal(state(), "playing");
});

test("a node that went without a word holds the page for 4 s, one that lets a join wait for 8 s", () => {
  const { fake, hello } = begin();
  fake.pass(3.9);
  assert.equal(fake.sockets.length, 1);
  fake.pass(0.4);
  assert.equal(fake.sockets.length, 2);
  fake.socket.open();
  assert.equal(hello().type, "hello");
  fake.pass(7.9);
  assert.equal(fake.sockets.length, 2);
  fake.pass(0.7);
  assert.equal(fake.sockets.length, 3);
});

test("a connection hours later has the newest ICE servers, not those of the welcome", () => {
  const { fake, join, hostJoins, play } = begin();
  const servers = (/** @type {string} */ username) => [{ urls: ["turn:a"], username, credential: "c" }];
  play();
  assert.deepEqual(fake.peer.iceServers, []);
  fake.socket.say({ type: "ice-servers", iceServers: servers("1") });
  fake.socket.say({ type: "ice-servers", iceServers: servers("2") });
  fake.peer.become(PeerState.FAILED);
  fake.pass(5);
  assert.equal(fake.peers.length, 2);
  assert.deepEqual(fake.peer.iceServers, servers("2"));
  fake.socket.end(1006);
  fake.pass(5);
  join({ iceServers: servers("3") });
  hostJoins();
  fake.peer.become(PeerState.FAILED);
  fake.pass(20);
  assert.deepEqual(fake.peer.iceServers, servers("3"));
});

test("the node's reconnect moves the page after the delay, whatever is said before", () => {
  const { fake, play, state } = begin();
  play();
  fake.socket.say({ type: "reconnect", afterMs: 2000 });
  fake.socket.say({ type: "pong" });
  fake.pass(1.9);
  assert.equal(fake.sockets.length, 1);
  fake.pass(0.2);
  assert.equal(fake.sockets.length, 2);
  assert.ok(fake.sockets[0].closed);
  assert.equal(state(), "playing");
});

test("what was lost with a socket is said again on the next one", () => {
  const { fake, join, hostJoins } = begin();
  join();
  hostJoins();
  fake.peer.listener.onItem({ type: "offer", sdp: "offer" });
  const [lost] = fake.socket.sent.filter(({ type }) => type === "sync");
  fake.socket.end(1006);
  fake.peer.listener.onItem({ type: "candidate", candidate: "c" });
  fake.pass(1);
  fake.socket.open();
  fake.socket.say(welcome({ resumed: true }));
  hostJoins();
  const again = fake.socket.sent.find(({ type }) => type === "sync");
  assert.equal(again.negotiation, lost.negotiation);
  assert.deepEqual([again.at, again.items.length], [0, 2]);
  assert.equal(fake.peers.length, 1);
});

test("under a new name an unfinished negotiation begins anew, a playing picture goes on", () => {
  const { fake, join, hostJoins, state } = begin();
  join();
  hostJoins();
  fake.socket.end(1006);
  fake.pass(1);
  fake.socket.open();
  fake.socket.say(welcome({ peer: "Q".repeat(22) }));
  assert.equal(state(), "waiting");
  hostJoins();
  assert.equal(fake.peers.length, 2);
  const playing = begin();
  playing.play();
  playing.fake.socket.end(1006);
  playing.fake.pass(1);
  playing.join({ peer: "Q".repeat(22) });
  playing.hostJoins("G".repeat(22));
  assert.equal(playing.state(), "playing");
  assert.equal(playing.fake.peers.length, 1);
});

test("a host that is lost while its picture plays is not gone", () => {
  const { fake, play, hostLeaves, state } = begin();
  play();
  hostLeaves("lost");
  fake.pass(66);
  assert.equal(state(), "playing");
  fake.peer.become(PeerState.FAILED);
  assert.equal(state(), "lost");
  fake.pass(2.1);
  assert.equal(state(), "waiting");
});

test("a host that says bye ends everything, and nothing retries", () => {
  const { fake, play, hostLeaves, state, session } = begin();
  play();
  hostLeaves("bye");
  assert.equal(state(), "ended");
  assert.equal(sentence(session.status, 0), "The host ended the session.");
  assert.ok(fake.peer.closed && fake.socket.closed);
  assert.equal(fake.timers.size, 0);
});

test("an interruption heals within a second or a second connection is made", () => {
  const { fake, play, state, notices } = begin();
  play();
  fake.peer.become(PeerState.INTERRUPTED);
  assert.equal(notices.at(-1), "interrupted");
  fake.pass(0.9);
  fake.peer.become(PeerState.CONNECTED);
  fake.pass(10);
  assert.equal(fake.peers.length, 1);
  fake.peer.become(PeerState.INTERRUPTED);
  fake.pass(1.1);
  assert.equal(fake.peers.length, 2);
  assert.equal(state(), "playing");
  assert.ok(!fake.peers[0].closed);
});

test("an interruption is a loss that counts down where no second connection can be offered", () => {
  const { fake, play, state, session } = begin();
  play();
  const first = fake.peer;
  fake.socket.end(1006);
  first.become(PeerState.INTERRUPTED);
  fake.pass(2.9);
  assert.equal(state(), "playing");
  fake.pass(0.2);
  assert.equal(state(), "lost");
  assert.ok(first.closed);
  assert.equal(sentence(session.status, fake.now), "Connection lost, reconnecting in 2 seconds.");
  first.listener.onState(PeerState.CONNECTED); // late word of the old connection
  assert.equal(state(), "lost");
});

const KEEP = { type: "control", action: "renegotiate", payload: { keep: true } };

test("the host hears nothing: a second connection takes over when it is connected, with what is held", () => {
  const { fake, play, state, session, tracks } = begin();
  play();
  const [first] = fake.peers;
  hostSays(fake, KEEP);
  const [, second] = fake.peers;
  assert.ok(second && !first.closed);
  assert.equal(session.input, first.input);
  second.listener.onTrack(/** @type {any} */ ("video"));
  hostSays(fake, ANSWER);
  assert.deepEqual([first.applied, second.applied], [[], [ANSWER]]);
  assert.deepEqual(tracks, []);
  first.become(PeerState.FAILED); // it was only waited for the second one
  assert.equal(state(), "playing");
  second.become(PeerState.CONNECTED);
  assert.deepEqual([tracks, second.carried], [["video"], [first.input]]);
  assert.ok(first.closed);
  assert.equal(session.input, second.input);
  session.pictureArrived();
  fake.pass(60);
  assert.equal(state(), "playing");
  assert.equal(fake.peers.length, 2);
});

test("a second connection that shows no picture is lost like any other", () => {
  const { fake, play, state } = begin();
  play();
  hostSays(fake, KEEP);
  fake.peer.become(PeerState.CONNECTED);
  fake.pass(20.1);
  assert.equal(state(), "lost");
});

test("after a second connection that failed the host is still heard, and may be silent about that one", () => {
  const { fake, play, state, notices } = begin();
  play();
  const first = fake.peer;
  hostSays(fake, KEEP);
  const second = fake.peer;
  hostSays(fake, BUSY);
  assert.ok(second.closed && !first.closed);
  const sync = fake.socket.sent.findLast(({ type }) => type === "sync");
  const says = (/** @type {any[]} */ ...items) =>
    fake.socket.say({ ...sync, to: ME, from: HOST, at: 1, items, has: 1, replaces: undefined });
  const notice = { type: "control", action: "notice", payload: { message: "There is no sound." } };
  says(ANSWER, BUSY, notice); // the first two late, about what has failed
  assert.deepEqual([state(), first.applied, second.applied], ["playing", [], []]);
  assert.equal(notices.at(-1), "The host says: There is no sound.");
  second.become(PeerState.FAILED);
  second.listener.onTrack(/** @type {any} */ ("late"));
  assert.equal(state(), "playing");
  says(ANSWER, BUSY, notice, { type: "control", action: "renegotiate" });
  assert.equal(fake.peers.length, 3);
  assert.ok(first.closed);
});

test("a connection that has moved once is watched like the first one when it is not replaced", () => {
  const { fake, state } = playTwiceMoved();
  const [, moved, third] = fake.peers;
  third.become(PeerState.FAILED);
  assert.equal(state(), "playing");
  moved.become(PeerState.FAILED);
  assert.equal(state(), "lost");
});

test("what a failed second connection had to say is not said under another name", () => {
  const { fake, play, join } = begin();
  play();
  hostSays(fake, KEEP);
  fake.peer.listener.onItem({ type: "offer", sdp: "never acknowledged" });
  fake.peer.become(PeerState.FAILED);
  fake.pass(4); // its repetitions are seconds apart now
  fake.socket.end(1006);
  fake.pass(1);
  join({ peer: "Q".repeat(22) });
  fake.pass(20);
  assert.deepEqual(
    fake.socket.sent.filter(({ type }) => type === "sync"),
    [],
  );
});

/** A third connection beside the second one, before that has shown anything. */
function playTwiceMoved() {
  const world = begin();
  world.play();
  hostSays(world.fake, KEEP);
  world.fake.peer.become(PeerState.CONNECTED);
  hostSays(world.fake, KEEP);
  return world;
}

test("a third connection that plays is not lost because the second one had shown no picture", () => {
  const { fake, session, state } = playTwiceMoved();
  fake.peer.become(PeerState.CONNECTED);
  session.pictureArrived();
  fake.pass(30);
  assert.equal(state(), "playing");
  assert.deepEqual(
    fake.peers.map(({ closed }) => closed),
    [true, true, false],
  );
});

test("who leaves while a third connection is made does not come back", () => {
  const { fake, session, state } = playTwiceMoved();
  session.leave("left");
  fake.pass(60);
  assert.equal(state(), "idle");
  assert.equal(fake.timers.size, 0);
});

for (const healed of [true, false]) {
  test(`without a second connection the first one ${healed ? "goes on" : "is lost"}`, () => {
    for (const fail of [
      (/** @type {any} */ fake) => fake.pass(10.1),
      (/** @type {any} */ fake) => fake.peer.become(PeerState.FAILED),
      (/** @type {any} */ fake) => hostSays(fake, BUSY),
    ]) {
      const { fake, play, state, session } = begin();
      play();
      const first = fake.peer;
      first.become(PeerState.INTERRUPTED);
      fake.pass(1.1);
      if (healed) first.become(PeerState.CONNECTED);
      fail(fake);
      assert.equal(state(), healed ? "playing" : "lost");
      assert.equal(fake.peers.filter(({ closed }) => !closed).length, healed ? 1 : 0);
      assert.equal(session.peer, healed ? first : null);
      if (!healed) continue;
      first.become(PeerState.INTERRUPTED);
      fake.pass(1.1);
      assert.equal(fake.peers.length, 3);
    }
  });
}

test("a second connection under a name that we lost, or to another host, is given up", () => {
  for (const changes of [{ peer: "Q".repeat(22) }, { resumed: true }]) {
    const { fake, play, join, hostJoins, state } = begin();
    play();
    fake.peer.become(PeerState.INTERRUPTED);
    fake.pass(1.1);
    fake.socket.end(1006);
    fake.pass(1);
    join(changes);
    hostJoins("G".repeat(22));
    assert.ok(fake.peers[1].closed);
    assert.notEqual(state(), "playing");
  }
});

test("the user need not wait for the next attempt", () => {
  const { fake, play, state, session } = begin();
  play();
  fake.peer.become(PeerState.FAILED);
  session.hurry();
  assert.equal(state(), "negotiating");
});

test("a host that goes away after a good session is asked ever later", () => {
  const { fake, play, session } = begin();
  play();
  fake.pass(60);
  const waits = [];
  for (let i = 0; i < 4; i++) {
    fake.peer.become(PeerState.FAILED);
    waits.push((session.status.until ?? NaN) - fake.now);
    session.hurry();
  }
  assert.deepEqual(waits, [2, 3, 5, 8.5]);
});

test("without any way to a host that answers the page gives up in words after some attempts", () => {
  const { fake, join, hostJoins, state, session } = begin();
  join();
  hostJoins();
  for (let attempt = 1; attempt < 6; attempt++) {
    hostSays(fake, ANSWER);
    fake.peer.become(PeerState.FAILED);
    assert.equal(state(), "lost");
    assert.match(sentence(session.status, fake.now), /UDP.*Trying again in/);
    session.hurry();
  }
  hostSays(fake, ANSWER);
  fake.peer.become(PeerState.FAILED);
  assert.equal(state(), "failed");
  assert.match(sentence(session.status, fake.now), /UDP/);
  assert.equal(fake.timers.size, 0);
});

test("a host that never answers is not blamed on the network", () => {
  const { fake, join, hostJoins, state, session } = begin();
  join();
  hostJoins();
  hostSays(fake, ANSWER);
  fake.peer.become(PeerState.FAILED);
  session.hurry(); // an answer to the last offer is none to this one
  for (let i = 0; i < 40 && state() !== "failed"; i++) {
    fake.pass(5);
    if (fake.socket.sent.at(-1).type === "ping") fake.socket.say({ type: "pong" });
    assert.doesNotMatch(sentence(session.status, fake.now), /UDP|answers/);
  }
  assert.equal(state(), "failed");
  assert.match(sentence(session.status, fake.now), /does not answer/);
});

test("a connection over which no picture comes is not blamed on the network", () => {
  const { fake, join, hostJoins, session } = begin();
  join();
  hostJoins();
  hostSays(fake, ANSWER);
  fake.peer.become(PeerState.CONNECTED);
  fake.pass(20.1);
  assert.equal(session.status.state, "lost");
  assert.match(sentence(session.status, fake.now), /sends no picture.*Trying again/);
});

test("a host that was busy for long does not make the first failed connection the last", () => {
  const { fake, join, hostJoins, state, session } = begin();
  join();
  hostJoins();
  for (let i = 0; i < 8; i++) {
    hostSays(fake, BUSY);
    session.hurry();
  }
  hostSays(fake, ANSWER);
  fake.peer.become(PeerState.FAILED);
  assert.equal(state(), "lost");
});

test("a busy host says why and is asked again; renegotiate comes at once", () => {
  const { fake, join, hostJoins, state, session } = begin();
  join();
  hostJoins();
  hostSays(fake, BUSY);
  assert.equal(state(), "waiting");
  assert.match(sentence(session.status, fake.now), /now: The display is asleep\. Trying again in \d/);
  fake.pass(5);
  assert.equal(fake.peers.length, 2);
  hostSays(fake, { type: "control", action: "renegotiate" });
  assert.equal(fake.peers.length, 3);
  hostSays(fake, { type: "control", action: "something-new", payload: null });
  assert.equal(fake.peers.length, 3);
});

test("a session that the person at the host ended says so and does not come back by itself", () => {
  const { fake, play, state, session } = begin();
  play();
  const sync = fake.socket.sent.at(-1);
  const control = { type: "control", action: "ended" };
  fake.socket.say({ ...sync, to: ME, from: HOST, items: [control], has: 1 });
  assert.equal(state(), "ended");
  assert.match(sentence(session.status, fake.now), /^The person at the host ended remote control\./);
  const { length } = fake.peers;
  fake.pass(60);
  assert.deepEqual([state(), fake.peers.length], ["ended", length]);
});

test("a notice of the host is shown for a while over the picture", () => {
  const { fake, play, state, notices } = begin();
  play();
  const sync = fake.socket.sent.at(-1);
  const control = { type: "control", action: "notice", payload: { message: "The display is gone." } };
  fake.socket.say({ ...sync, to: ME, from: HOST, items: [control], has: 1 });
  assert.equal(notices.at(-1), "The host says: The display is gone.");
  fake.pass(14);
  assert.equal(notices.at(-1), "The host says: The display is gone.");
  fake.pass(2);
  assert.equal(notices.at(-1), null);
  assert.equal(state(), "playing");
});

test("a session that the node no longer knows plays to its end", () => {
  const { fake, play, state, notices } = begin();
  play();
  fake.socket.end(1006);
  fake.pass(1);
  for (let i = 0; i < 3; i++) refuse(fake, "unauthorized");
  assert.equal(state(), "playing");
  assert.equal(notices.at(-1), "signaling-refused");
  fake.peer.become(PeerState.FAILED);
  assert.equal(state(), "failed");
});

test("leaving tells the others and leaves nothing running", () => {
  const { fake, play, session, state } = begin();
  play();
  session.leave("left");
  assert.deepEqual(fake.sockets[0].sent.at(-1), { type: "bye", reason: "left" });
  assert.equal(state(), "idle");
  assert.equal(fake.timers.size, 0);
  assert.ok(fake.peer.closed && fake.socket.closed);
});

test("every notice has words", () => {
  const notices = ["signaling-lost", "signaling-refused", "interrupted", "bar", "captured", "released", "muted"];
  for (const notice of notices) {
    assert.ok(NOTICES[notice]);
  }
});

test("whatever happens in whatever order, one connection lives, a second one only beside a picture, and every state has words", () => {
  for (let seed = 0; seed < cases(300); seed++) {
    const random = seeded(seed);
    const { fake, session, join, hostJoins, hostLeaves, state } = begin();
    const acts = [
      () => join({ resumed: random() < 0.5, peer: random() < 0.7 ? ME : "Q".repeat(22) }),
      () => hostJoins(random() < 0.7 ? HOST : "G".repeat(22)),
      () => hostLeaves("lost"),
      () => random() < 0.2 && hostLeaves("bye"),
      () => fake.socket.end(1006),
      () => fake.socket.say('{"type":"nonsense"}'),
      () => fake.socket.say({ type: "reconnect", afterMs: 100 }),
      () => fake.peer && !fake.peer.closed && fake.peer.become([...Object.values(PeerState)][Math.floor(random() * 4)]),
      () => fake.peer && !fake.peer.closed && fake.peer.listener.onItem({ type: "offer", sdp: "offer" }),
      () => fake.peer && !fake.peer.closed && fake.socket.sent.at(-1)?.type === "sync" && hostSays(fake, KEEP),
      () => session.pictureArrived(),
      () => session.hurry(),
      () => fake.pass(random() * 12),
    ];
    for (let step = 0; step < 60; step++) {
      acts[Math.floor(random() * acts.length)]();
      const living = fake.peers.filter(({ closed }) => !closed);
      assert.ok(living.length <= (state() === "playing" ? 2 : 1));
      assert.equal(session.peer !== null, ["negotiating", "playing"].includes(state()), state());
      assert.doesNotMatch(sentence(session.status, fake.now), /undefined|\(/);
    }
  }
});

test("a negotiation names the ones before it that the host may not have seen, in case they come late", () => {
  const { fake, join, hostJoins } = begin();
  join();
  hostJoins();
  const offer = () => {
    fake.peer.listener.onItem({ type: "offer", sdp: "offer" });
    return fake.socket.sent.at(-1);
  };
  const loseConnection = () => {
    const before = fake.peer;
    before.become(PeerState.FAILED);
    for (let second = 0; second < 30 && fake.peer === before; second++) fake.pass(1);
  };
  const first = offer();
  assert.equal(first.replaces, undefined);
  loseConnection();
  const second = offer();
  assert.deepEqual(second.replaces, [first.negotiation]);
  fake.socket.say({ ...second, to: ME, from: HOST, has: 1, items: [], replaces: undefined });
  loseConnection();
  const third = offer();
  assert.notEqual(third.negotiation, second.negotiation);
  assert.equal(third.replaces, undefined);
});
