// The load of S7: whole sessions, some at a time. Both peers connect in the same moment; the caller sends its offer
// as soon as it may, and again every RETRY_MS until an answer comes; the callee answers with ten candidates, the
// caller sends ten; both close. An offer is numbered in its text: when the callee hears another than the
// first one first, the first was lost.
// Argument: JSON {ports, bytes, dialect, secret, at_once}. Reads lines "run SECONDS SESSIONS" (no new session starts
// after SECONDS); answers with {sessions, seconds, lost, failed}.
import readline from "node:readline";

import { textFrame } from "./client.js";
import { DIALECTS, enter, makePair } from "./dialects.js";

const RETRY_MS = 250;
const LIMIT_MS = 10_000;
const CANDIDATES = 10;
const CANDIDATE = "candidate:842163049 1 udp 1677729535 203.0.113.77 46154 typ srflx raddr 0.0.0.0 rport 0 generation 0";
const options = JSON.parse(process.argv[2]);
const dialect = DIALECTS[options.dialect];
const run = Math.random().toString(36).slice(2);

const sdp = (number) => `${String(number).padStart(4, "0")}${"x".repeat(options.bytes - 4)}`;
const say = (peer, type, fields) => peer.client.socket.write(textFrame(dialect.say(peer, type, fields)));

function sayCandidates(peer) {
  for (let index = 0; index < CANDIDATES; index += 1) {
    say(peer, "candidate", { candidate: CANDIDATE, sdpMid: "0", sdpMLineIndex: 0 });
  }
}

function listen(peer, onItem) {
  peer.client.listen((buffer, start, end) => {
    for (const item of dialect.hear(buffer.toString("utf8", start, end))) onItem(item);
  });
}

async function talk(caller, callee) {
  let first = 0;
  let answered = false;
  const done = (peer) =>
    new Promise((resolve, reject) => {
      let candidates = 0;
      peer.client.failed = reject;
      peer.count = () => {
        candidates += 1;
        if (candidates >= CANDIDATES) resolve();
      };
    });
  const both = Promise.all([done(caller), done(callee)]);
  both.catch(() => {}); // awaited last: an earlier failure is told first
  const calleeIn = enter(callee, dialect, options.secret).then(() => {
    listen(callee, (item) => {
      if (item.type === "candidate") callee.count();
      if (item.type !== "offer" || first) return;
      first = Number(item.sdp.slice(0, 4));
      say(callee, "answer", { sdp: sdp(0) });
      sayCandidates(callee);
    });
  });
  calleeIn.catch(() => {});
  await enter(caller, dialect, options.secret);
  await dialect.meet(caller);
  listen(caller, (item) => {
    if (item.type === "candidate") caller.count();
    if (item.type !== "answer" || answered) return;
    answered = true;
    sayCandidates(caller);
  });
  let offers = 0;
  const offer = () => {
    if (answered) return clearInterval(again);
    offers += 1;
    say(caller, "offer", { sdp: sdp(offers) });
  };
  const again = setInterval(offer, RETRY_MS);
  try {
    offer();
    await calleeIn;
    await both;
  } finally {
    clearInterval(again);
  }
  return first !== 1;
}

async function session(number) {
  const ports = [number, number + 1].map((index) => options.ports[index % options.ports.length]);
  const [callee, caller] = makePair(`${run}-${number}`, ports); // the callee is peer 0: the host
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error("the session did not end in time")), LIMIT_MS).unref();
  });
  try {
    const lost = await Promise.race([talk(caller, callee), late]);
    await Promise.all([caller.client.close(), callee.client.close()]);
    return { lost: Number(lost), failed: 0 };
  } catch (error) {
    console.error(error.message);
    for (const peer of [caller, callee]) peer.client.socket?.destroy();
    return { lost: 0, failed: 1 };
  }
}

let numbers = 0;
async function measure(seconds, sessions) {
  const total = { sessions: 0, lost: 0, failed: 0 };
  const started = performance.now();
  let begun = 0;
  const worker = async () => {
    while (begun < sessions && performance.now() - started < seconds * 1000) {
      begun += 1;
      const { lost, failed } = await session(numbers++);
      total.sessions += 1;
      total.lost += lost;
      total.failed += failed;
    }
  };
  await Promise.all(Array.from({ length: options.at_once }, worker));
  return { ...total, seconds: (performance.now() - started) / 1000 };
}

console.log("ready");
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [, seconds, sessions] = line.split(" ").map(Number);
  console.log(JSON.stringify(await measure(seconds, sessions)));
}
process.exit(0);
