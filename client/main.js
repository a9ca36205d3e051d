/** The page's root: builds the parts, follows the link, and turns clicks and chords into what they mean. */
import { Arrivals } from "./arrivals.js";
import { ClipboardKeys } from "./clipboard-keys.js";
import { CursorView } from "./cursor-view.js";
import { Gamepads } from "./input/gamepad.js";
import { Keyboard } from "./input/keyboard.js";
import { Pointer } from "./input/pointer.js";
import { TextEntry } from "./input/text.js";
import { SessionStore, fragmentOf, parseFragment } from "./link.js";
import { ROOM_PATTERN } from "./messages.js";
import { Peer } from "./peer.js";
import { Session, State } from "./session.js";
import { DeskMenu } from "./desk_menu.js";
import { Meter } from "./meter.js";
import { Overlay } from "./overlay.js";
import { Sound } from "./sound.js";
import { Spare } from "./spare.js";
import { View } from "./view.js";

/** The Keyboard Lock API is not in every browser, nor in TypeScript's. @type {{lock?: () => Promise<void>} | undefined} */
const keyboardLock = /** @type {any} */ (navigator).keyboard;

/** From the first picture to the page that shows it: what takes longer then waits for it. */
const PAINTED_MS = 50;

/** localStorage, unless the browser forbids it. */
function storage() {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

const view = new View();
const store = new SessionStore(storage());
const meter = new Meter(view.video, () => view.figuresShown);
const arrivals = new Arrivals(view.video);
const overlay = new Overlay(view, meter);
const sound = new Sound(view);
const clipboard = new ClipboardKeys(view.copy, (notice) => {
  view.notice(notice, true);
  view.stage.focus();
});
const cursor = new CursorView(view.stage, view.video, view.cursor);
const deskMenu = new DeskMenu(view);
const spare = new Spare();
/** @type {Session | null} */
let session = null;
/** @type {string | null} */
let room = null;
/** @type {string | null} */
let token = null;
const now = () => performance.now() / 1000;

/** @type {import("./session.js").World} */
const world = {
  now,
  random: Math.random,
  socket: (url, protocol) => new WebSocket(url, protocol),
  setTimer: (run, seconds) => setTimeout(run, Math.max(seconds, 0) * 1000),
  clearTimer: (timer) => clearTimeout(timer),
  peer: (iceServers, listener) => new Peer(spare.take(iceServers), listener),
};

/** What the page says before anything was tried. */
function idle() {
  const reason = room === null ? "" : token ? "link" : store.load(room) ? "known" : "open";
  view.setRoom(room);
  view.show({ state: State.IDLE, reason, until: null, message: "" }, now);
}

/** @param {import("./session.js").Status} status */
function show(status) {
  const peer = status.state === State.PLAYING ? (session?.peer ?? null) : null;
  meter.follow(peer);
  arrivals.follow(session?.peer ?? null);
  deskMenu.follow(peer);
  if (!session?.peer) cursor.follow(null);
  clipboard.follow(status.state === State.PLAYING ? (session?.peer?.clipboard ?? null) : null);
  if (status.state === State.IDLE) return idle();
  view.show(status, now);
  if (status.state !== State.PLAYING) return;
  setTimeout(() => session?.status.state === State.PLAYING && void sound.play(), PAINTED_MS);
  gamepads.start();
}

/** Video and audio have a MediaStream each, so that the browser does not delay one for the other. @param {MediaStreamTrack} track */
function attach(track) {
  if (track.kind === "audio") return sound.take(track);
  view.hold();
  view.video.srcObject = new MediaStream([track]);
  view.video.play().catch(() => {}); // replaced by the next one
}

function start() {
  if (room === null) return;
  const where = { room, url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws` };
  session?.leave("connecting again");
  session = new Session(
    where,
    store,
    {
      onStatus: show,
      onNotice: (notice) => view.notice(notice),
      onTrack: attach,
      onStats: (message) => {
        overlay.hostSaid(message);
        meter.hostSaid(message);
        arrivals.hostSaid(message);
      },
      onCursor: (peer, message) => cursor.hostSaid(peer, message),
    },
    world,
  );
  overlay.session = session;
  const used = token;
  token = null;
  history.replaceState(null, "", fragmentOf(room)); // the token is used up by this and leaves the address bar
  session.start(used);
}

async function toggleFullScreen() {
  if (document.fullscreenElement) return document.exitFullscreen();
  const options = /** @type {FullscreenOptions} */ ({ navigationUI: "hide", keyboardLock: "browser" });
  await document.documentElement.requestFullscreen(options);
  // Escape and the system's chords go to the host too, where the browser knows how.
  await keyboardLock?.lock?.().catch((error) => console.warn("Some keys stay with the system:", error));
  view.stage.focus();
  view.notice("captured", true);
}

function toggleMouse() {
  if (pointer.locked) return pointer.unlock();
  pointer.lock().then(
    () => view.notice("captured", true),
    (error) => console.warn("The mouse cannot be locked:", error),
  );
}

function toggleText() {
  text.toggle();
  view.text.setAttribute("aria-pressed", String(text.on));
  if (text.on) view.notice("text", true);
}

function leave() {
  session?.leave("left");
  if (document.fullscreenElement) void document.exitFullscreen();
}

/** @param {import("./input/keyboard.js").Chord} chord */
function follow(chord) {
  if (chord === "fullscreen") toggleFullScreen().catch((error) => console.warn("No full screen:", error));
  if (chord === "mouse") toggleMouse();
  if (chord === "statistics") overlay.toggle();
  if (chord === "text") toggleText();
  if (chord === "release") {
    if (pointer.locked) pointer.unlock();
    view.openBar();
    view.notice("released", true);
  }
}

const input = () => session?.input ?? null;
const pointer = new Pointer(view.stage, view.video, input);
new Keyboard(view.stage, input, follow, clipboard);
const text = new TextEntry(view.stage, view.textField, input);
const gamepads = new Gamepads(input, (notice) => view.notice(notice, true));

view.video.addEventListener("loadeddata", () => session?.pictureArrived());
view.form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (session?.status.state === State.LOST) return session.hurry();
  if (room === null) {
    const typed = view.room.value.trim();
    view.setRoomValid(ROOM_PATTERN.test(typed));
    if (!ROOM_PATTERN.test(typed)) return;
    room = typed;
    view.setRoom(room);
  }
  start();
});
view.cancel.addEventListener("click", leave);
view.leave.addEventListener("click", leave);
view.other.addEventListener("click", () => {
  session?.leave("left");
  session = null;
  room = token = null;
  history.replaceState(null, "", location.pathname);
  idle();
  view.room.focus();
});
view.handle.addEventListener("click", () => view.openBar());
view.full.addEventListener("click", () => follow("fullscreen"));
view.mouse.addEventListener("click", toggleMouse);
view.text.addEventListener("click", toggleText);
view.sound.addEventListener("click", () => {
  sound.toggle();
  view.stage.focus();
});
view.statistics.addEventListener("click", () => {
  overlay.toggle();
  view.stage.focus();
});

// Leaving for good; a page that the browser only puts aside has lost its connections too when it comes back. Only a
// session that was under way begins again: a link waits for its click.
/** @type {Set<string>} */
const AT_REST = new Set([State.IDLE, State.ENDED, State.FAILED]);
let putAside = false;
window.addEventListener("pagehide", () => {
  putAside = session !== null && !AT_REST.has(session.status.state);
  session?.leave("page closed");
  spare.close();
});
window.addEventListener("pageshow", (event) => event.persisted && putAside && start());

function open() {
  ({ room, token } = parseFragment(location.hash));
  if (!("RTCPeerConnection" in window && "WebSocket" in window)) {
    view.show({ state: State.FAILED, reason: "unsupported", until: null, message: "" }, now);
    view.connect.hidden = true;
    return;
  }
  idle();
  spare.make(); // before the click, which it would hold up
  const [navigation] = performance.getEntriesByType("navigation");
  const reloaded = navigation instanceof PerformanceNavigationTiming && navigation.type === "reload";
  if (room !== null && !token && reloaded && store.load(room)) start();
}

window.addEventListener("hashchange", () => {
  const link = parseFragment(location.hash);
  if (link.room === room && !link.token) return;
  session?.leave("another link");
  session = null;
  open();
});

open();
