/** A host for the page's tests, in a second tab: a drawn desktop, a tone, and it notes what input came. */
import { Negotiation } from "/negotiation.js";

const socket = new WebSocket(`ws://${location.host}/host`);
const canvas = document.getElementById("desktop");
const context = canvas.getContext("2d");
let frame = 0;

function draw() {
  frame += 1;
  const { width, height } = canvas;
  const sky = context.createLinearGradient(0, 0, width, height);
  sky.addColorStop(0, "#31437a");
  sky.addColorStop(1, "#7b3f6e");
  context.fillStyle = sky;
  context.fillRect(0, 0, width, height);
  context.fillStyle = "#14171f";
  context.fillRect(width * 0.18, height * 0.2, width * 0.44, height * 0.5);
  context.fillStyle = "#2b303c";
  context.fillRect(width * 0.18, height * 0.2, width * 0.44, height * 0.045);
  context.fillStyle = "#7fe3a2";
  context.font = `${height * 0.03}px monospace`;
  context.fillText(`$ uname -n && echo frame ${frame}`, width * 0.2, height * 0.31);
  context.fillStyle = "#f2c14e";
  context.beginPath();
  context.arc(width * (0.8 + 0.08 * Math.sin(frame / 20)), height * 0.4, height * 0.09, 0, 7);
  context.fill();
  setTimeout(draw, 33);
}
draw();
const picture = canvas.captureStream(30).getVideoTracks()[0];
const sound = new AudioContext();
const tone = sound.createOscillator();
const speaker = sound.createMediaStreamDestination();
tone.connect(speaker);
tone.start();

window.input = [];
window.offers = [];
/** Whose candidates are used: of "both", or of one side alone, which then have to lead to the connection. */
window.candidates = "both";
/** How many offers stay without an answer. */
window.deaf = 0;
const bare = (sdp) => sdp.replace(/^a=candidate:.*\r\n/gm, "");
let connection = null;
let negotiation = null;
let answering = Promise.resolve();

function pump() {
  const now = performance.now() / 1000;
  for (let sync; negotiation && (sync = negotiation.poll(now)); ) socket.send(JSON.stringify(sync));
}
setInterval(pump, 50);

function summary() {
  const view = new DataView(new ArrayBuffer(37));
  view.setUint16(0, 0x0101);
  [1280, 720, 300, 70, 82, 450, 12].forEach((value, i) => view.setUint16(2 + 2 * i, value));
  view.setUint32(16, 8e6);
  view.setUint32(20, 76e5);
  view.setUint16(26, 213);
  view.setUint8(32, 4);
  [..."x264"].forEach((letter, i) => view.setUint8(33 + i, letter.charCodeAt(0)));
  return view.buffer;
}

function gathered(connection) {
  return new Promise((resolve) => {
    const look = () => connection.iceGatheringState === "complete" && resolve();
    connection.addEventListener("icegatheringstatechange", look);
    look();
  });
}

async function answer({ sdp }) {
  window.offers.push(sdp);
  if (window.deaf > 0) {
    window.deaf -= 1;
    return;
  }
  connection?.close();
  const mine = negotiation;
  connection = new RTCPeerConnection();
  connection.onicecandidate = ({ candidate }) => {
    if (window.candidates === "page") return;
    const { candidate: text = "", sdpMid } = candidate ?? {};
    mine.say(text ? { type: "candidate", candidate: text, sdpMid } : { type: "candidate", candidate: "" });
    pump();
  };
  connection.ondatachannel = ({ channel }) => {
    channel.binaryType = "arraybuffer";
    if (channel.label === "stats") setInterval(() => channel.readyState === "open" && channel.send(summary()), 200);
    if (channel.label !== "input") return;
    window.inputChannel = channel;
    channel.onmessage = ({ data }) => hear(channel, new DataView(data));
  };
  await connection.setRemoteDescription({ type: "offer", sdp: bare(sdp) });
  for (const transceiver of connection.getTransceivers()) {
    transceiver.direction = "sendonly";
    const kind = transceiver.receiver.track.kind;
    await transceiver.sender.replaceTrack(kind === "video" ? picture : speaker.stream.getAudioTracks()[0]);
  }
  await connection.setLocalDescription();
  if (window.candidates === "host") await gathered(connection); // all of them before the answer
  mine.say({ type: "answer", sdp: bare(connection.localDescription.sdp) });
  pump();
}

let next = 1;
function hear(channel, view) {
  window.motion = [view.getUint8(6), view.getInt32(9), view.getInt32(13)];
  if (view.getUint8(1) !== 1) return;
  const first = view.getUint32(17);
  let at = 22;
  for (let sequence = first; sequence < first + view.getUint8(21); sequence++) {
    const kind = view.getUint8(at);
    const size = kind === 5 ? 2 + view.getUint8(at + 1) : [0, 4, 14, 5, 1][kind];
    if (sequence === next) {
      window.input.push([...new Uint8Array(view.buffer, at, size)]);
      next += 1;
    }
    at += size;
  }
  const ack = new DataView(new ArrayBuffer(6));
  ack.setUint16(0, 0x0103);
  ack.setUint32(2, next);
  channel.send(ack.buffer);
}

window.control = (action, payload) => {
  negotiation.say({ type: "control", action, payload });
  pump();
};
window.vanish = () => connection.close();

socket.onmessage = ({ data }) => {
  const sync = JSON.parse(data);
  if (sync.negotiation !== negotiation?.negotiation) {
    if (sync.at !== 0 || sync.items[0]?.type !== "offer") return;
    negotiation = new Negotiation(sync.to, sync.from, sync.negotiation);
    next = 1;
  }
  const mine = negotiation;
  for (const item of mine.receive(sync, performance.now() / 1000)) {
    answering = answering.then(() => {
      if (item.type === "offer") return answer(item);
      if (item.type !== "candidate" || !item.candidate || window.candidates === "host") return;
      if (connection.signalingState !== "closed") return connection.addIceCandidate(item);
    });
  }
  pump();
};
