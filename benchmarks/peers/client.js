// A raw WebSocket client, cheap enough not to be what is measured: whole frames in, prebuilt frames out.
import net from "node:net";

const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

function frame(opcode, payload) {
  const long = payload.length > 125;
  const head = Buffer.alloc(long ? 8 : 6); // the mask is zero: RFC 6455 5.3 asks for one, any will do here
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | (long ? 126 : payload.length);
  if (long) head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, payload]);
}

export const textFrame = (text) => frame(TEXT, Buffer.from(text));

export class Client {
  constructor(port) {
    this.port = port;
    this.buffer = Buffer.alloc(0);
    this.early = []; // texts that came while nobody listened
    this.onText = this.keep;
    this.closed = new Promise((resolve) => (this.onClosed = resolve));
    this.closing = false;
  }

  open(path, subprotocol) {
    const offer = subprotocol ? `Sec-WebSocket-Protocol: ${subprotocol}\r\n` : "";
    this.socket = net.connect(this.port, "127.0.0.1");
    this.socket.setNoDelay(true);
    return new Promise((resolve, reject) => {
      const fail = (error) => {
        reject(error);
        this.onClosed();
        if (!this.closing) this.failed?.(error);
      };
      this.socket.on("error", fail);
      this.socket.on("close", () => fail(new Error("the server closed a socket")));
      this.socket.once("data", (data) => {
        const end = data.indexOf("\r\n\r\n");
        if (!data.toString("latin1").startsWith("HTTP/1.1 101")) return fail(new Error(data.toString()));
        this.socket.on("data", (more) => this.feed(more));
        resolve();
        if (data.length > end + 4) queueMicrotask(() => this.feed(data.subarray(end + 4)));
      });
      this.socket.write(
        `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${this.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
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
      const end = start + length;
      if (buffer.length < end) break;
      const opcode = buffer[0] & 15;
      if (opcode === TEXT) this.onText(buffer, start, end);
      if (opcode === PING) this.socket.write(frame(PONG, buffer.subarray(start, end)));
      if (opcode === CLOSE) this.onClose(length >= 2 ? buffer.readUInt16BE(start) : 1005);
      buffer = buffer.subarray(end);
    }
    this.buffer = buffer;
  }

  onClose(code) {
    if (this.closing) return this.socket.end();
    const error = new Error(`the server closed a socket with ${code}`);
    this.socket.destroy(error);
  }

  keep(buffer, start, end) {
    this.early.push(buffer.subarray(start, end));
  }

  // From now on texts go to `onText(buffer, start, end)`; those that were kept go first.
  listen(onText) {
    this.onText = onText;
    while (this.early.length && this.onText === onText) {
      const text = this.early.shift();
      onText(text, 0, text.length);
    }
  }

  // Resolves at the first text for which `wanted` gives something true.
  next(wanted) {
    return new Promise((resolve, reject) => {
      this.failed = reject;
      this.listen((buffer, start, end) => {
        try {
          if (!wanted(buffer.toString("utf8", start, end))) return;
          this.onText = this.keep;
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  // The closing handshake of RFC 6455 7.1.2: resolves when the socket is gone.
  close() {
    this.closing = true;
    this.socket.write(frame(CLOSE, Buffer.from([0x03, 0xe8])));
    return this.closed;
  }
}
