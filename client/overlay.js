/** Feeds the statistics overlay once a second, from the connection, the meter and the host. */
import { figures, parseDelivery, parseSummary, totalsOf } from "./stats.js";

const EVERY_MS = 1000;
/** A host that said nothing for this long has no numbers that are true now. */
const STALE_MS = 3000;

export class Overlay {
  /** @type {import("./session.js").Session | null} */
  session = null;
  /** @type {import("./stats.js").Summary | null} */
  #summary = null;
  #summaryAt = 0;
  /** @type {import("./stats.js").Delivery | null} */
  #delivery = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** @type {{peer: object, at: number, totals: import("./stats.js").Totals} | null} */
  #before = null;

  /** @param {import("./view.js").View} view @param {import("./meter.js").Meter} meter */
  constructor(view, meter) {
    this.view = view;
    this.meter = meter;
  }

  toggle() {
    this.view.toggleFigures();
    clearInterval(this.#timer);
    this.#before = null;
    if (!this.view.figuresShown) return;
    this.#timer = setInterval(() => this.#look(), EVERY_MS);
    this.#look();
  }

  /** A message of the `stats` channel. @param {ArrayBuffer} message */
  hostSaid(message) {
    const summary = parseSummary(message);
    if (!summary) {
      this.#delivery = parseDelivery(message) ?? this.#delivery;
      return;
    }
    this.#summary = summary;
    this.#summaryAt = performance.now();
  }

  async #look() {
    const peer = this.session?.peer;
    if (!peer) return;
    const totals = totalsOf(await peer.connection.getStats());
    const at = performance.now();
    const before = this.#before?.peer === peer ? this.#before : null;
    this.#before = { peer, at, totals };
    const seen = this.meter.take();
    if (!before) return;
    const fresh = at - this.#summaryAt < STALE_MS;
    const host = { summary: fresh ? this.#summary : null, delivery: fresh ? this.#delivery : null };
    this.view.showFigures(figures(before.totals, totals, (at - before.at) / 1000, seen, host));
  }
}
