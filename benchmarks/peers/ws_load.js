// The load of S1, S2, S3 and S6: pairs of WebSockets in ping-pong, or single ones that hear their own echo.
// Argument: JSON {ports, pairs, bytes, dialect, secret}; the peers of a pair are on neighbouring ports.
// Prints "ready" when all are in; then reads lines: "run SECONDS" goes as fast as the server goes,
// "run SECONDS RATE" sends at a rate; answers each with one line of JSON {messages, seconds, p50_us, p99_us}.
import readline from "node:readline";

import { DIALECTS, enter, makePair, padded } from "./dialects.js";

const AT_ONCE = 16;
const options = JSON.parse(process.argv[2]);
const dialect = DIALECTS[options.dialect];
const run = Math.random().toString(36).slice(2);

const all = []; // pairs; of one peer, when it hears its own echo
async function open(index) {
  const ports = [index, index + 1].map((number) => options.ports[number % options.ports.length]);
  let pair = makePair(`${run}-${index}`, ports);
  if (options.dialect === "echo") {
    pair = [pair[0]];
    pair[0].other = pair[0];
  }
  for (const peer of pair) await enter(peer, dialect, options.secret);
  for (const peer of pair) peer.message = padded(peer, dialect, "offer", options.bytes);
  all.push(pair);
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

let opened = 0;
async function openSome() {
  while (opened < options.pairs) await open(opened++);
}
await Promise.all(Array.from({ length: AT_ONCE }, openSome)).catch(fail);
for (const peer of all.flat()) peer.client.failed = fail;
console.log("ready");

function measure(seconds, rate) {
  return new Promise((resolve) => {
    const delays = [];
    let messages = 0;
    let running = true;
    const send = (peer) => {
      peer.sentAt = performance.now();
      peer.client.socket.write(peer.message);
    };
    for (const peer of all.flat()) {
      peer.client.onText = () => {
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
          for (; due < want; due += 1) {
            const pair = all[next++ % all.length];
            send(pair[Math.floor(due / all.length) % pair.length]);
          }
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
