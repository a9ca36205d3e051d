/**
 * Every word that the page says by itself, in one place: English. (The fixed words of the page are in index.html.)
 *
 * @typedef {import("./session.js").Status} Status
 */

/** @param {number} seconds */
const seconds = (seconds) => (seconds === 1 ? "1 second" : `${seconds} seconds`);

/** @type {Readonly<Record<string, string>>} By `Status.reason`. */
const SENTENCES = Object.freeze({
  // idle
  "": "Enter the name of a room to connect to its host.",
  link: "This link lets you see and control this host. It works once.",
  known: "You have been here before and need no new link.",
  open: "Connect to see and control this host.",
  // joining, waiting, negotiating, playing
  joining: "Joining the room…",
  rejoining: "The server cannot be reached.",
  "no-host": "Waiting for the host. The picture comes as soon as it is there.",
  busy: "The host cannot open a session now",
  negotiating: "The host is there. Finding the way to it…",
  picture: "Connected. Waiting for the first picture…",
  playing: "Connected. The picture is playing.",
  // lost
  lost: "Connection lost.",
  // lost before the first picture, or failed after some attempts
  "no-answer": "The host does not answer. Check that Tightbeam still works there.",
  "no-picture": "The host is connected, but sends no picture. Check that its screen is on.",
  unreachable:
    "No direct connection to the host came about. Check that both networks let UDP through, or use the same network.",
  // ended
  ended: "The person at the host ended remote control. It begins again only when they allow it there.",
  "host-ended": "The host ended the session.",
  // failed
  unauthorized:
    "This room needs a new link: the last one was used already or is older than 10 minutes. Ask the host for another one.",
  forbidden: "Your link does not open this room in this way. Ask the host for another one.",
  "room-full": "The room is full. Try again when somebody has left.",
  "host-present": "The room has a host already.",
  "bad-message": "Page and server do not understand each other. Reload the page to get its newest version.",
  superseded: "The session goes on in another tab or window. Connect to bring it here.",
  origin: "The server does not accept this page's address. Open the page from the server itself.",
  "host-name": "The server does not know itself by this address. Use the address that it printed at its start.",
  unsupported: "This browser has no WebRTC. Use a current Chromium, Firefox or Safari.",
  refused: "The server refused the connection. Reload the page and try again.",
});

/**
 * What the user is told about a state.
 * @param {Status} status
 * @param {number} now in seconds of the clock of `status.until`
 */
export function sentence({ reason, message, until }, now) {
  const said = SENTENCES[reason] ?? `${SENTENCES.refused} (${reason})`;
  const whole = reason === "busy" ? `${said}${message ? `: ${message}` : "."}` : said;
  if (until === null) return whole;
  const left = Math.ceil(until - now);
  if (left <= 0) return whole;
  if (reason === "lost") return `Connection lost, reconnecting in ${seconds(left)}.`;
  return `${whole} Trying again in ${seconds(left)}.`;
}

/** @type {Readonly<Record<string, string>>} The small notices over a picture that goes on. */
export const NOTICES = Object.freeze({
  "signaling-lost": "The server cannot be reached. Your session goes on; the page keeps trying.",
  "signaling-refused": "The server does not know this session any more. It goes on until its connection ends.",
  interrupted: "The connection is interrupted…",
  bar: "Rest the mouse at the top edge for the session's buttons.",
  captured: "Ctrl+Alt+Shift+Z gives mouse and keyboard back to this page.",
  text: "Input method and on-screen keyboard write to the host now. Ctrl+Alt+Shift+T ends it.",
  released: "The keyboard is back on this page. Click the picture to give it to the host.",
  gamepad: "The gamepad plays on the host.",
  "gamepad-unknown": "The browser does not know this gamepad's layout, so it does nothing here.",
  "gamepad-many": "The host takes four gamepads; this one does nothing.",
  copied: "Copied: the host's text is in this machine's clipboard.",
  "nothing-copied": "The host's clipboard has no text for this page.",
  "not-copied": "The browser did not let the host's text into the clipboard. Use the button for it, in the session's bar.",
  "not-pasted": "This machine's text did not get into the host's clipboard: is it longer than 1 MiB?",
  muted: "Click, tap or press a key to hear the sound.",
});

/** What the host has to say while its picture goes on. @param {string} message in its own words */
export const hostNotice = (message) => `The host says: ${message}`;

/** @type {Readonly<Record<string, string>>} The main button, by state. */
export const BUTTONS = Object.freeze({
  idle: "Connect",
  lost: "Reconnect now",
  ended: "Connect again",
  failed: "Try again",
});

/** @type {Readonly<Record<string, string>>} What RTCIceCandidateType means to a user. */
export const WAYS = Object.freeze({
  host: "direct",
  srflx: "direct, through NAT",
  prflx: "direct",
  relay: "relayed",
});

export const ROOM_HINT = "The host shows the name of its room when it starts.";
export const ROOM_INVALID = "A room's name has up to 64 letters, digits or - _ : . and no spaces.";
export const FULLSCREEN_ON = "Full screen";
export const FULLSCREEN_OFF = "Leave full screen";
export const EVERY_MONITOR = "All monitors";
/** @type {Readonly<Record<string, string>>} What is said of an app, by its state. */
export const APP_STATES = Object.freeze({ ready: "start", shown: "", starting: "starting…", running: "runs", ending: "ending…" });
/** @param {string} name of an app */
export const END_APP = (name) => `End ${name}`;
export const ONLY_PLAYERS = "Only players choose what is shown.";
/** @param {number} width @param {number} height */
export const pixels = (width, height) => (width > 0 && height > 0 ? `${width} × ${height}` : "");
export const SOUND_ON = "Turn the sound on";
export const SOUND_OFF = "Turn the sound off";

/** The overlay: groups of figures, each with what it says. @type {[string, [string, string][]][]} */
export const FIGURES = [
  [
    "On this screen",
    [
      ["frames", "Frames shown"],
      ["size", "Picture received"],
      ["codec", "Codec, decoder"],
      ["rate", "Video received"],
      ["loss", "Packets lost, last second"],
      ["skipped", "Frames skipped here, in all"],
    ],
  ],
  [
    "On the way",
    [
      ["path", "Way to the host"],
      ["rtt", "Round trip"],
      ["wait", "Jitter buffer, mean"],
      ["decode", "Decode, mean"],
      ["parity", "Parity packets sent · received"],
      ["again", "Packets sent again · received"],
    ],
  ],
  [
    "From click to photon, median · 95th",
    [
      ["leg-click_to_photon", "Click to photon"],
      ["clicks", "Clicks counted, last 10 s"],
      ["leg-input", "Up to the host*"],
      ["leg-inject", "Injected to captured"],
      ["leg-encode", "Captured to encoded"],
      ["leg-send", "Encoded to sent"],
      ["leg-network", "Down from the host*"],
      ["leg-buffer", "Jitter buffer"],
      ["leg-decode", "Decode"],
      ["leg-display", "Wait for the screen"],
      ["leg-capture_to_photon", "Captured to photon*"],
      ["clock", "* by two clocks that agree to"],
    ],
  ],
  [
    "On the host",
    [
      ["hostSize", "Picture encoded"],
      ["picture", "This page gets the picture"],
      ["encoder", "Encoder"],
      ["choice", "No better one, because"],
      ["capture", "Capture, median"],
      ["convert", "Convert, median"],
      ["encode", "Encode, median"],
      ["send", "Send, median"],
      ["target", "Sent of target"],
      ["hostLoss", "Loss reported"],
      ["hostRtt", "Round trip"],
      ["replaced", "Frames replaced, in all"],
    ],
  ],
];
