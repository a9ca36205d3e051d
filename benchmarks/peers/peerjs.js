// PeerJS's own signaling server as its package ships it, without its limits on connections and silence. Prints its port.
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "package.json"));
const { PeerServer } = require("peer");

const unlimited = { concurrent_limit: 1e6, alive_timeout: 3_600_000 };
PeerServer({ host: "127.0.0.1", port: 0, ...unlimited }, (server) => console.log(server.address().port));
