/**
 * The link and what is kept of it: `#room=R&token=T` (docs/protocol.md 4), and one session a room for 12 h.
 *
 * The token is a credential of one use: it stays in memory until the click that uses it, and leaves the address bar
 * with that click.
 */
import { ROOM_PATTERN } from "./messages.js";

const KEEP_MS = 12 * 3600 * 1000;
const PREFIX = "tightbeam.session.";

/**
 * The room and the pairing token of an address's fragment; null for what is not there or not valid.
 * @param {string} hash
 */
export function parseFragment(hash) {
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const room = parameters.get("room") ?? "";
  return { room: ROOM_PATTERN.test(room) ? room : null, token: parameters.get("token") || null };
}

/** The fragment that names a room and nothing secret. @param {string} room */
export function fragmentOf(room) {
  return `#room=${encodeURIComponent(room)}`;
}

/** Sessions in localStorage, by room. A browser that refuses storage only forgets. */
export class SessionStore {
  /** @param {Storage | null} storage @param {() => number} now in ms since 1970 */
  constructor(storage, now = Date.now) {
    this.storage = storage;
    this.now = now;
  }

  /** The session of a room, if there is one that can still be valid. @param {string} room @returns {string | null} */
  load(room) {
    try {
      const { session, at } = JSON.parse(this.storage?.getItem(PREFIX + room) ?? "null") ?? {};
      const fresh = typeof at === "number" && this.now() - at < KEEP_MS;
      return typeof session === "string" && fresh ? session : null;
    } catch {
      return null;
    }
  }

  /** @param {string} room @param {string} session */
  save(room, session) {
    try {
      this.storage?.setItem(PREFIX + room, JSON.stringify({ session, at: this.now() }));
    } catch (error) {
      console.warn("The session cannot be kept, a reload will need a new link:", error);
    }
  }

  /** @param {string} room */
  forget(room) {
    this.storage?.removeItem(PREFIX + room);
  }
}
