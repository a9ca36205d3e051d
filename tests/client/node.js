/** A signaling node for the page's tests: one room, no checks, and it says and drops what the test wants. */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const CLIENT = new URL("../../client/", import.meta.url);
const TYPES = { html: "text/html", css: "text/css", js: "text/javascript", svg: "image/svg+xml" };
/** As of the real node: test_stub.py holds the two together. */
const HEADERS = JSON.parse(readFileSync(new URL("headers.json", import.meta.url), "utf8"));
export const PAGE = "P".repeat(22);
export const HOST = "H".repeat(22);

export class Node {
  /** Every message of the page. @type {any[]} */
  heard = [];
  /** What the next hello is answered with instead of a welcome. @type {any[]} */
  refusals = [];
  hostIsThere = false;
  refuseSockets = false;
  /** @type {import("ws").WebSocket | null} */
  page = null;
  /** @type {import("ws").WebSocket | null} */
  host = null;
  #joins = 0;

  async start() {
    this.http = createServer((request, response) => this.#serve(request, response));
    this.sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "tightbeam.v1" });
    this.http.on("upgrade", (request, socket, head) => {
      if (this.refuseSockets) return socket.destroy();
      this.sockets.handleUpgrade(request, socket, head, (ws) => {
        if (request.url === "/host") this.#hostSocket(ws);
        else this.#pageSocket(ws);
      });
    });
    await new Promise((resolve) => this.http.listen(0, "127.0.0.1", () => resolve(null)));
    const { port } = /** @type {import("node:net").AddressInfo} */ (this.http.address());
    this.url = `http://127.0.0.1:${port}`;
  }

  async stop() {
    this.page?.terminate();
    this.host?.terminate();
    this.http?.closeAllConnections();
    await new Promise((resolve) => this.http?.close(resolve));
  }

  async #serve(request, response) {
    const name = request.url === "/" ? "index.html" : request.url.slice(1);
    const base = name.startsWith("stub/") ? new URL("./", import.meta.url) : CLIENT;
    try {
      const body = await readFile(new URL(name, base));
      response.writeHead(200, {
        "Content-Type": TYPES[name.split(".").at(-1)] ?? "text/plain",
        ...HEADERS,
      });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  }

  #pageSocket(ws) {
    this.page = ws;
    ws.on("message", (frame) => {
      const message = JSON.parse(String(frame));
      this.heard.push(message);
      if (message.type === "hello") this.#welcome(message);
      else if (message.type === "ping") this.say({ type: "pong" });
      else if (message.type === "sync") this.host?.send(String(frame));
    });
  }

  #welcome(hello) {
    const refusal = this.refusals.shift();
    if (refusal) {
      this.say(refusal);
      return this.page.close(1008, "no");
    }
    this.#joins += 1;
    this.say({
      type: "welcome",
      peer: PAGE,
      room: hello.room,
      role: hello.role,
      session: `session${this.#joins}`,
      resume: `resume${this.#joins}`,
      resumed: Boolean(hello.resume),
      iceServers: [],
      limits: { messageBytes: 262144, messagesPer10s: 200 },
    });
    if (this.hostIsThere) this.hostJoins();
  }

  #hostSocket(ws) {
    this.host = ws;
    ws.on("message", (frame) => this.page?.send(String(frame)));
  }

  /** @param {object} message */
  say(message) {
    this.page?.send(JSON.stringify(message));
  }

  hostJoins() {
    this.hostIsThere = true;
    this.say({ type: "peer-joined", peer: HOST, role: "host", dialect: "tightbeam" });
  }

  /** @param {"bye" | "lost"} reason */
  hostLeaves(reason) {
    this.hostIsThere = false;
    this.say({ type: "peer-left", peer: HOST, reason });
  }
}
