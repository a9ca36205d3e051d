// The predecessor's design: npm `ws`, a room's members in Redis and one `psubscribe room:*` for all nodes. A socket is
// heard once Redis has taken it into its room: what it said before that is lost. A message is parsed, checked, sent to
// the room's other sockets here and published for the other nodes; this node hears its own publish too.
// Prints its port when it listens. Environment: REDIS_SOCKET, a unix socket.
import { createRequire } from "node:module";
import { randomUUID } from "node:crypto";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "package.json"));
const { WebSocketServer } = require("ws");
const { createClient } = require("redis");

const node = randomUUID();
const rooms = new Map();
const publisher = createClient({ socket: { path: process.env.REDIS_SOCKET } });
const subscriber = publisher.duplicate();
for (const client of [publisher, subscriber]) client.on("error", () => {}); // it connects again by itself
await publisher.connect();
await subscriber.connect();

const text = (value) => typeof value === "string";
const rules = {
  offer: (message) => text(message.sdp),
  answer: (message) => text(message.sdp),
  candidate: (message) => text(message.candidate),
  control: (message) => text(message.action),
};

const CAPACITY = 2;
const LIFE_S = 3600;

async function join(id, member) {
  const key = `members:${id}`;
  const [, size] = await publisher.multi().sAdd(key, member).sCard(key).expire(key, LIFE_S).exec();
  if (size > CAPACITY) await publisher.sRem(key, member);
  return size <= CAPACITY;
}

function deliver(room, frame, except) {
  for (const socket of rooms.get(room) ?? []) {
    if (socket !== except && socket.readyState === 1) socket.send(frame);
  }
}

await subscriber.pSubscribe("room:*", (packet, channel) => {
  const envelope = JSON.parse(packet);
  if (envelope.node !== node) deliver(channel.slice(5), JSON.stringify(envelope.message));
});

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
server.on("connection", async (socket, request) => {
  const id = new URL(request.url, "ws://node").searchParams.get("roomId");
  const member = randomUUID();
  if (!(await join(id, member))) {
    socket.close(1000, "Room is full");
    return;
  }
  if (socket.readyState !== 1) return void publisher.sRem(`members:${id}`, member);
  const room = rooms.get(id) ?? new Set();
  rooms.set(id, room);
  room.add(socket);
  socket.on("message", (frame) => {
    let message;
    try {
      message = JSON.parse(frame.toString());
    } catch {
      message = {};
    }
    if (!rules[message.type]?.(message)) {
      socket.send(JSON.stringify({ type: "control", action: "schema-error" }));
      return;
    }
    deliver(id, JSON.stringify(message), socket);
    publisher.publish(`room:${id}`, JSON.stringify({ node, message })).catch(() => {});
  });
  socket.on("close", () => {
    publisher.sRem(`members:${id}`, member).catch(() => {});
    room.delete(socket);
    if (room.size === 0) rooms.delete(id);
  });
});
server.on("listening", () => console.log(server.address().port));
