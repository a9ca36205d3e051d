// A relay on socket.io as its documentation shows it: rooms, and the Redis adapter when there are several nodes.
// Prints its port. Environment: REDIS_SOCKET, a unix socket; without it there is one node only.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "package.json"));
const { Server } = require("socket.io");

const http = createServer();
const options = { transports: ["websocket"], serveClient: false, pingInterval: 3_600_000 };
if (process.env.REDIS_SOCKET) {
  const { createClient } = require("redis");
  const { createAdapter } = require("@socket.io/redis-adapter");
  const publisher = createClient({ socket: { path: process.env.REDIS_SOCKET } });
  const subscriber = publisher.duplicate();
  for (const client of [publisher, subscriber]) client.on("error", () => {}); // it connects again by itself
  await Promise.all([publisher.connect(), subscriber.connect()]);
  options.adapter = createAdapter(publisher, subscriber);
}
const io = new Server(http, options);
io.on("connection", (socket) => {
  const room = socket.handshake.query.roomId;
  socket.join(room);
  socket.on("message", (message) => socket.to(room).emit("message", message));
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
