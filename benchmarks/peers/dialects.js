// How a peer speaks to each kind of server: where it connects, how it joins, when it has met the other peer of its
// pair, how it says an offer, an answer or a candidate to it, and what it hears. A peer is {client, room, index, id, other}.
import { createHmac } from "node:crypto";

import { Client, textFrame } from "./client.js";

function hostToken(room, secret) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const iat = Math.floor(Date.now() / 1000);
  const claims = { iss: "tightbeam", aud: "tightbeam:host", iat, exp: iat + 600, room, role: "host" };
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

const byRoom = {
  path: (peer) => `/?roomId=${peer.room}`,
  join: async () => {},
  meet: async () => {},
  say: (peer, type, fields) => JSON.stringify({ type, ...fields }),
  hear: (text) => [JSON.parse(text)],
};

const tightbeam = {
  path: () => "/ws",
  subprotocol: "tightbeam.v1",

  // Peer 0 is the host, peer 1 a player.
  async join(peer, secret) {
    const role = peer.index === 0 ? "host" : "player";
    const keys = peer.index === 0 ? { token: hostToken(peer.room, secret) } : {};
    const welcome = peer.client.next((text) => {
      const message = JSON.parse(text);
      if (message.type === "error") throw new Error(message.message);
      if (message.type === "welcome") peer.id = message.peer;
      return message.type === "welcome";
    });
    peer.client.socket.write(textFrame(JSON.stringify({ type: "hello", room: peer.room, role, ...keys })));
    await welcome;
  },

  meet: (peer) =>
    peer.client.next((text) => {
      const message = JSON.parse(text);
      if (message.type === "peer-joined") peer.other.id = message.peer;
      return message.type === "peer-joined";
    }),

  say(peer, type, fields) {
    const items = [{ type, ...fields }];
    const negotiation = "A".repeat(22);
    return JSON.stringify({ type: "sync", to: peer.other.id, from: peer.id, negotiation, at: 0, items, has: 0 });
  },

  hear: (text) => JSON.parse(text).items ?? [],
};

const peerjs = {
  path: (peer) => `/peerjs?key=peerjs&id=${peer.id}&token=${peer.id}`,
  join: (peer) => peer.client.next((text) => JSON.parse(text).type === "OPEN"),
  meet: async () => {},
  say: (peer, type, fields) =>
    JSON.stringify({ type: type.toUpperCase(), dst: peer.other.id, payload: fields }),

  hear(text) {
    const { type, payload } = JSON.parse(text);
    return [{ type: type.toLowerCase(), ...payload }];
  },
};

// Engine.IO 4 over its WebSocket transport: 0 is its open, 40 connects to the namespace, 42 is an event.
const socketio = {
  path: (peer) => `/socket.io/?EIO=4&transport=websocket&roomId=${peer.room}`,
  meet: async () => {},
  say: (peer, type, fields) => `42${JSON.stringify(["message", { type, ...fields }])}`,
  hear: (text) => (text.startsWith("42") ? [JSON.parse(text.slice(2))[1]] : []),

  async join(peer) {
    const connected = peer.client.next((text) => text.startsWith("40"));
    peer.client.socket.write(textFrame("40"));
    await connected;
  },
};

const echo = { ...byRoom, path: () => "/" };

export const DIALECTS = { plain: byRoom, tightbeam, peerjs, socketio, echo };

// The two peers of a room; they are not connected yet.
export function makePair(room, ports) {
  const pair = ports.map((port, index) => ({
    client: new Client(port),
    room,
    index,
    id: `${room}-${index}`,
  }));
  pair[0].other = pair[1];
  pair[1].other = pair[0];
  return pair;
}

export async function enter(peer, dialect, secret) {
  await peer.client.open(dialect.path(peer), dialect.subprotocol);
  await dialect.join(peer, secret);
}

// An offer or answer whose frame's text has this many bytes.
export function padded(peer, dialect, type, bytes) {
  const empty = dialect.say(peer, type, { sdp: "" }).length;
  return textFrame(dialect.say(peer, type, { sdp: "x".repeat(bytes - empty) }));
}
