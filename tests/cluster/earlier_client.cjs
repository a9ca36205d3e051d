/**
 * A client as those of the earlier Node.js servers are: it knows nothing of Tightbeam.
 * node earlier_client.cjs host|client URL[,URL of the next node]; prints what happens to it, a JSON line each;
 * a line on stdin makes it offer again.
 */
const readline = require("node:readline");
const WebSocket = require("ws");

const [role, urls] = process.argv.slice(2);
let tries = 0;
let ws;

function say(event, detail) {
  console.log(JSON.stringify({ event, ...detail }));
}

function send(message) {
  ws.send(JSON.stringify(message));
}

function offer() {
  send({ type: "offer", sdp: "v=0 offer" });
  send({ type: "candidate", candidate: "candidate:1", sdpMid: "0", sdpMLineIndex: 0 });
  send({ type: "candidate", candidate: "", sdpMid: null, sdpMLineIndex: null });
}

function connect() {
  ws = new WebSocket(urls.split(",")[tries % urls.split(",").length]);
  ws.onopen = () => {
    say("open", { protocol: ws.protocol });
    if (role === "client") offer();
  };
  ws.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    say(message.type, { message });
    if (message.type === "offer") {
      send({ type: "answer", sdp: "v=0 answer" });
      send({ type: "candidate", candidate: "candidate:2", sdpMid: "0", sdpMLineIndex: 0, usernameFragment: "u" });
      send({ type: "control", action: "ready", payload: { fps: 60 } });
    }
  };
  ws.onerror = () => {};
  ws.onclose = ({ code, reason }) => {
    say("close", { code, reason });
    if (code === 1012 || code === 1006) {
      tries += 1;
      setTimeout(connect, 50);
    }
  };
}

connect();
readline.createInterface({ input: process.stdin }).on("line", offer);
