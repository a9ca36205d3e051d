// A bare relay on npm `ws`: rooms in memory, frames passed on as they came, nothing checked.
// Prints its port when it listens. Arguments: --port N
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "package.json"));
const { WebSocketServer } = require("ws");

const rooms = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });

server.on("connection", (socket, request) => {
  const id = new URL(request.url, "ws://node").searchParams.get("roomId");
  const room = rooms.get(id) ?? new Set();
  rooms.set(id, room);
  room.add(socket);
  socket.on("message", (frame, isBinary) => {
    for (const other of room) {
      if (other !== socket) other.send(frame, { binary: isBinary });
    }
  });
  socket.on("close", () => {
    room.delete(socket);
    if (room.size === 0) rooms.delete(id);
  });
});
server.on("listening", () => console.log(server.address().port));
