/** The page's elements: shows a session's state, its notices and figures. The only module that knows index.html. */
import { Bar } from "./bar.js";
import {
  BUTTONS,
  FIGURES,
  FULLSCREEN_OFF,
  FULLSCREEN_ON,
  NOTICES,
  ROOM_HINT,
  ROOM_INVALID,
  SOUND_OFF,
  SOUND_ON,
  WAYS,
  sentence,
} from "./words.js";

const NOTICE_MS = 5000;
/** States in which something goes on that the user may stop. */
const UNDER_WAY = ["joining", "waiting", "negotiating", "lost"];

/** @template {Element} T @param {string} id @param {new () => T} kind @returns {T} */
function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html: expected #${id} to be a ${kind.name}`);
  return found;
}

export class View {
  stage = element("stage", HTMLElement);
  video = element("screen", HTMLVideoElement);
  cursor = element("cursor", HTMLCanvasElement);
  audio = element("sound", HTMLAudioElement);
  handle = element("handle", HTMLButtonElement);
  form = element("entry", HTMLFormElement);
  room = element("room", HTMLInputElement);
  connect = element("connect", HTMLButtonElement);
  cancel = element("cancel", HTMLButtonElement);
  other = element("other", HTMLButtonElement);
  mouse = element("tool-mouse", HTMLButtonElement);
  text = element("tool-text", HTMLButtonElement);
  textField = element("typed", HTMLTextAreaElement);
  sound = element("tool-sound", HTMLButtonElement);
  copy = element("tool-copy", HTMLButtonElement);
  statistics = element("tool-stats", HTMLButtonElement);
  full = element("tool-full", HTMLButtonElement);
  desk = element("tool-desk", HTMLButtonElement);
  choices = element("choices", HTMLElement);
  leave = element("tool-leave", HTMLButtonElement);
  #bar = new Bar(element("bar", HTMLElement), this.handle, this.stage);
  #panel = element("panel", HTMLElement);
  #words = element("status", HTMLElement);
  #roomName = element("room-name", HTMLElement);
  #roomField = element("room-field", HTMLElement);
  #roomHint = element("room-hint", HTMLElement);
  #last = element("last", HTMLCanvasElement);
  #barRoom = element("bar-room", HTMLElement);
  #notice = element("notice", HTMLElement);
  /** @type {string | null} */
  #noticed = null;
  #figures = element("stats", HTMLElement);
  /** @type {Map<string, HTMLElement>} */
  #cells = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #noticeTimer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #countdown;

  constructor() {
    document.addEventListener("fullscreenchange", () => {
      const label = document.fullscreenElement ? FULLSCREEN_OFF : FULLSCREEN_ON;
      this.full.setAttribute("aria-label", label);
      this.full.title = `${label} (Ctrl+Alt+Shift+F)`;
    });
    this.video.addEventListener("loadeddata", () => delete document.body.dataset.held);
    document.addEventListener("pointerlockchange", () => {
      this.mouse.setAttribute("aria-pressed", String(document.pointerLockElement !== null));
    });
    this.#roomHint.textContent = ROOM_HINT;
    this.full.hidden = !document.documentElement.requestFullscreen;
    this.mouse.hidden = !this.stage.requestPointerLock || !matchMedia("(any-pointer: fine)").matches;
  }

  get state() {
    return document.body.dataset.state ?? "idle";
  }

  /** The room that the page is about, or none: then the form asks for one. @param {string | null} room */
  setRoom(room) {
    document.title = room ? `${room} · Tightbeam` : "Tightbeam";
    this.#roomName.textContent = this.#barRoom.textContent = room ?? "";
    this.#roomName.hidden = room === null;
    this.#roomField.hidden = room !== null;
  }

  /** Whether what was typed is the name of a room. @param {boolean} valid */
  setRoomValid(valid) {
    this.room.setAttribute("aria-invalid", String(!valid));
    this.#roomHint.textContent = valid ? ROOM_HINT : ROOM_INVALID;
    if (!valid) this.room.focus();
  }

  /** @param {import("./session.js").Status} status @param {() => number} now */
  show(status, now) {
    const { state, until } = status;
    const before = this.state;
    document.body.dataset.state = state;
    const playing = state === "playing";
    const tell = () => {
      const text = sentence(status, now());
      if (this.#words.textContent !== text) this.#words.textContent = text;
    };
    clearInterval(this.#countdown);
    if (until !== null) this.#countdown = setInterval(tell, 250);
    tell();
    if (BUTTONS[state]) this.connect.textContent = BUTTONS[state];
    this.connect.hidden = !BUTTONS[state];
    this.connect.disabled = false; // index.html's: without scripts it would load the page again, without the link
    this.cancel.hidden = !UNDER_WAY.includes(state);
    this.other.hidden = this.#roomName.hidden || UNDER_WAY.includes(state) || playing;
    this.#bar.element.inert = !playing;
    this.stage.tabIndex = playing ? 0 : -1;
    if (state === before) return;
    delete document.body.dataset.held;
    // The status line stays readable for screen readers while the rest of the card is gone.
    for (const part of this.form.children) {
      if (part !== this.#words) part.toggleAttribute("inert", playing);
    }
    if (playing) {
      const first = document.body.dataset.seen === undefined;
      document.body.dataset.seen = "";
      this.stage.focus({ preventScroll: true });
      this.#bar.show();
      if (first && matchMedia("(any-pointer: fine)").matches) this.notice("bar", true);
    } else {
      if (before === "playing") this.#keepPicture();
      if (state === "ended" || state === "failed" || state === "idle") delete document.body.dataset.seen;
      if (document.pointerLockElement) document.exitPointerLock();
    }
    this.#panel.setAttribute("aria-busy", String(UNDER_WAY.includes(state)));
  }

  /** The last picture stays behind the card; a video whose connection has ended is black. */
  #keepPicture() {
    const { video } = this;
    this.#last.width = video.videoWidth;
    this.#last.height = video.videoHeight;
    if (video.videoWidth > 0) this.#last.getContext("2d")?.drawImage(video, 0, 0);
  }

  /** The video gets another connection: until that one's first picture the last one stays over it. */
  hold() {
    if (this.state !== "playing") return;
    this.#keepPicture();
    document.body.dataset.held = "";
  }

  /** A sentence over the picture; one that is `passing` goes by itself. @param {string | null} key @param {boolean} [passing] */
  notice(key, passing = false) {
    clearTimeout(this.#noticeTimer);
    this.#noticed = key;
    this.#notice.hidden = key === null;
    this.#notice.textContent = key === null ? "" : (NOTICES[key] ?? key);
    if (passing) this.#noticeTimer = setTimeout(() => this.notice(null), NOTICE_MS);
  }

  /** Takes a notice back, unless another one has taken its place. @param {string} key */
  withdraw(key) {
    if (this.#noticed === key) this.notice(null);
  }

  /** The bar, with the focus in it, which holds it. */
  openBar() {
    this.#bar.show();
    (this.full.hidden ? this.sound : this.full).focus();
  }

  /** @param {boolean} on */
  showSound(on) {
    const label = on ? SOUND_OFF : SOUND_ON;
    this.sound.classList.toggle("off", !on);
    this.sound.setAttribute("aria-label", label);
    this.sound.title = label;
  }

  get figuresShown() {
    return !this.#figures.hidden;
  }

  toggleFigures() {
    if (this.#cells.size === 0) this.#layFigures();
    this.#figures.hidden = !this.#figures.hidden;
    this.statistics.setAttribute("aria-pressed", String(this.figuresShown));
  }

  /** @param {import("./stats.js").Figures} figures */
  showFigures(figures) {
    const { path } = figures;
    const shown = path ? { ...figures, path: WAYS[path] ?? path } : figures;
    for (const [key, cell] of this.#cells) cell.textContent = shown[key] ?? "–";
  }

  #layFigures() {
    for (const [title, rows] of FIGURES) {
      const heading = document.createElement("h2");
      heading.textContent = title;
      const list = document.createElement("dl");
      for (const [key, label] of rows) {
        const term = document.createElement("dt");
        const cell = document.createElement("dd");
        term.textContent = label;
        cell.textContent = "–";
        list.append(term, cell);
        this.#cells.set(key, cell);
      }
      this.#figures.append(heading, list);
    }
  }
}
