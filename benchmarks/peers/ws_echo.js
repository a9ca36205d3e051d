// An echo server on npm `ws`, which takes `bufferutil` by itself when it is installed. Prints its port.
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "package.json"));
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
server.on("connection", (socket) => {
  socket.on("message", (frame, isBinary) => socket.send(frame, { binary: isBinary }));
});
server.on("listening", () => console.log(server.address().port));
