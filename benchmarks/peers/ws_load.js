// The load of S2: pairs of raw WebSockets in ping-pong, cheap enough not to be what is measured.
// Arguments: port pairs bytes dialect secret (it signs the host tokens of the Tightbeam dialect). Reads lines from stdin: "run SECONDS" goes as fast as the
// server goes, "run SECONDS RATE" sends at a rate; answers each with one line of JSON {messages, seconds, p50_us, p99_us}.
import { createHmac } from "node:crypto";
import net from "node:net";
import readline from "node:readline";

const [port, pairs, bytes, dialect, secret] = process.argv.slice(2);
const run = Math.random().toString(36).slice(2);

function frame(text) {
  const payload = Buffer.from(text);
  const long = payload.length > 125;
  const head = Buffer.alloc(long ? 8 : 6); // the mask is zero: RFC 6455 5.3 asks for one, any will do here
  head[0] = 0x81;
  head[1] = 0x80 | (long ? 126 : payload.length);
  if (long) head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, payload]);
}

function hostToken(room) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const iat = Math.floor(Date.now() / 1000);
  const claims = { iss: "tightbeam", aud: "tightbeam:host", iat, exp: iat + 600, room, role: "host" };
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

class Peer {
  constructor(room) {
    this.room = room;
    this.buffer = Buffer.alloc(0);
    this.onText = () => {};
    this.sentAt = 0;
  }

  open() {
    const path = dialect === "plain" ? `/?roomId=${this.room}` : "/ws";
    const offer = dialect === "plain" ? "" : "Sec-WebSocket-Protocol: tightbeam.v1\r\n";
    this.socket = net.connect(Number(port), "127.0.0.1");
    this.socket.setNoDelay(true);
    return new Promise((resolve, reject) => {
      this.socket.on("error", reject);
      this.socket.on("close", () => reject(new Error("the server closed a socket")));
      this.socket.once("data", (data) => {
        const end = data.indexOf("\r\n\r\n");
        if (!data.toString("latin1").startsWith("HTTP/1.1 101")) reject(new Error(data.toString()));
        this.socket.on("data", (more) => this.feed(more));
        this.feed(data.subarray(end + 4));
        resolve();
      });
      this.socket.write(
        `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          `Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n${offer}\r\n`,
      );
    });
  }

  feed(data) {
    let buffer = this.buffer.length ? Buffer.concat([this.buffer, data]) : data;
    while (buffer.length >= 2) {
      let length = buffer[1] & 127;
      let start = 2;
      if (length === 126) {
        if (buffer.length < 4) break;
        length = buffer.readUInt16BE(2);
        start = 4;
      }
      if (buffer.length < start + length) break;
      const opcode = buffer[0] & 15;
      if (opcode === 1) this.onText(buffer, start, start + length);
      if (opcode === 8) throw new Error(`closed with ${buffer.readUInt16BE(start)}`);
      if (opcode === 9) {
        const pong = Buffer.from([0x8a, 0x80 | length, 0, 0, 0, 0]);
        this.socket.write(Buffer.concat([pong, buffer.subarray(start, start + length)]));
      }
      buffer = buffer.subarray(start + length);
    }
    this.buffer = buffer;
  }

  next(type) {
    return new Promise((resolve, reject) => {
      this.onText = (buffer, start, end) => {
        const message = JSON.parse(buffer.toString("utf8", start, end));
        if (message.type === "error") reject(new Error(message.message));
        if (message.type === type) resolve(message);
      };
    });
  }

  async hello(role) {
    const welcome = this.next("welcome");
    const keys = role === "host" ? { token: hostToken(this.room) } : {};
    this.socket.write(frame(JSON.stringify({ type: "hello", room: this.room, role, ...keys })));
    this.id = (await welcome).peer;
  }
}

function message(from, to) {
  if (dialect === "plain") {
    const empty = JSON.stringify({ type: "offer", sdp: "" }).length;
    return frame(JSON.stringify({ type: "offer", sdp: "x".repeat(bytes - empty) }));
  }
  const base = { type: "sync", to, from, negotiation: "A".repeat(22), at: 0, items: [], has: 0 };
  base.items = [{ type: "offer", sdp: "" }];
  base.items[0].sdp = "x".repeat(bytes - JSON.stringify(base).length);
  return frame(JSON.stringify(base));
}

const all = [];
for (let index = 0; index < Number(pairs); index += 1) {
  const pair = [new Peer(`${run}-${index}`), new Peer(`${run}-${index}`)];
  for (const peer of pair) await peer.open();
  if (dialect !== "plain") {
    await pair[0].hello("host");
    await pair[1].hello("player");
  }
  pair[0].other = pair[1];
  pair[1].other = pair[0];
  for (const peer of pair) peer.message = message(peer.id, peer.other.id);
  all.push(pair);
}
console.log("ready");

function measure(seconds, rate) {
  return new Promise((resolve) => {
    const delays = [];
    let messages = 0;
    let running = true;
    const send = (peer) => {
      peer.sentAt = performance.now();
      peer.socket.write(peer.message);
    };
    for (const peer of all.flat()) {
      peer.onText = () => {
        messages += 1;
        if (delays.length < 200000) delays.push(performance.now() - peer.other.sentAt);
        if (running && !rate) send(peer);
      };
    }
    const started = performance.now();
    let next = 0;
    let due = 0;
    const timer = rate
      ? setInterval(() => {
          const want = ((performance.now() - started) / 1000) * rate;
          for (; due < want; due += 1) send(all[next++ % all.length][(due / all.length) & 1]);
        }, 1)
      : undefined;
    if (!rate) for (const pair of all) send(pair[0]);
    setTimeout(() => {
      running = false;
      clearInterval(timer);
      const elapsed = (performance.now() - started) / 1000;
      const counted = messages;
      setTimeout(() => {
        delays.sort((a, b) => a - b);
        const at = (part) => Math.round((delays[Math.floor(delays.length * part)] ?? 0) * 1000);
        resolve({ messages: counted, seconds: elapsed, p50_us: at(0.5), p99_us: at(0.99) });
      }, 100);
    }, seconds * 1000);
  });
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [, seconds, rate] = line.split(" ").map(Number);
  console.log(JSON.stringify(await measure(seconds, rate || 0)));
}
process.exit(0);
