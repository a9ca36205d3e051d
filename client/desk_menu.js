/** The menu of what the host can show, below the bar: it is there when there is more than one choice. */
import { APP_STATES, END_APP, EVERY_MONITOR, ONLY_PLAYERS, hostNotice, pixels } from "./words.js";

/** States of an app in which it can be ended. */
const ALIVE = ["running", "shown"];

export class DeskMenu {
  /** @type {import("./desk.js").DeskChannel | null} */
  #channel = null;

  /** @param {import("./view.js").View} view */
  constructor(view) {
    this.view = view;
    view.desk.addEventListener("click", () => this.#open(view.choices.hidden));
    view.choices.addEventListener("click", (event) => this.#clicked(event));
    view.choices.addEventListener("keydown", (event) => this.#pressed(event));
    // Whoever goes back to the picture is done with the menu.
    view.stage.addEventListener("pointerdown", () => this.#open(false));
  }

  /** The connection whose host is shown; null: none. @param {import("./peer.js").Peer | null} peer */
  follow(peer) {
    const channel = peer?.desk ?? null;
    if (channel === this.#channel) return;
    if (this.#channel) this.#channel.onMessage = () => {};
    this.#channel = channel;
    if (channel) channel.onMessage = (message) => this.#heard(message);
    this.#show();
  }

  /** @param {import("./desk.js").Desk | import("./desk.js").Said} message */
  #heard(message) {
    if (message.type === "said") this.view.notice(hostNotice(message.words), true);
    else this.#show();
  }

  #show() {
    const { desk, choices } = this.view;
    const { may = false, choices: offered = [] } = this.#channel?.desk ?? {};
    desk.hidden = offered.length < 2;
    if (desk.hidden) this.#open(false);
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.number : undefined;
    const rows = offered.flatMap((choice) => this.#rows(choice, may));
    choices.replaceChildren(...rows);
    rows.find(({ dataset }) => dataset.number === focused)?.focus();
    if (!may && rows.length > 0) {
      const why = document.createElement("p");
      why.textContent = ONLY_PLAYERS;
      choices.append(why);
    }
  }

  /** @param {import("./desk.js").Choice} choice @param {boolean} may */
  #rows({ number, kind, state, width, height, name }, may) {
    const app = kind === "app";
    const right = app ? APP_STATES[state] : pixels(width, height);
    const row = this.#row(number, [kind === "every-monitor" ? EVERY_MONITOR : name, right]);
    row.disabled = !may || state === "ending";
    row.setAttribute("aria-pressed", String(state === "shown"));
    if (!app || !may || !ALIVE.includes(state)) return [row];
    const end = this.#row(number, [END_APP(name)]);
    end.dataset.end = "";
    return [row, end];
  }

  /** @param {number} number @param {string[]} cells */
  #row(number, cells) {
    const row = document.createElement("button");
    row.type = "button";
    row.dataset.number = String(number);
    for (const words of cells) {
      const cell = document.createElement("span");
      cell.textContent = words;
      row.append(cell);
    }
    return row;
  }

  /** @param {Event} event */
  #clicked({ target }) {
    const row = target instanceof Element ? target.closest("button") : null;
    if (row?.dataset.number === undefined) return;
    this.#channel?.wish(Number(row.dataset.number), { end: row.dataset.end !== undefined });
    this.#open(false);
    this.view.stage.focus({ preventScroll: true });
  }

  /** Up and down go from row to row, Escape closes. @param {KeyboardEvent} event */
  #pressed(event) {
    const rows = /** @type {HTMLElement[]} */ ([...this.view.choices.querySelectorAll("button:enabled")]);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key] ?? 0;
    const at = rows.findIndex((row) => row === document.activeElement);
    if (step !== 0) rows[(at + step + rows.length) % rows.length]?.focus();
    else if (event.key === "Escape") {
      this.#open(false);
      this.view.desk.focus();
    } else return;
    event.preventDefault();
  }

  /** @param {boolean} open */
  #open(open) {
    const { desk, choices } = this.view;
    choices.hidden = !open;
    desk.setAttribute("aria-expanded", String(open));
    const shown = /** @type {HTMLElement | null} */ (choices.querySelector("button[aria-pressed=true]:enabled"));
    if (open) shown?.focus();
  }
}
