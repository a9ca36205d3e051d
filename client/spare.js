/**
 * A connection that is made before it is needed: a page's first one takes the browser's whole WebRTC with it, for which
 * a click need not wait. Nothing is sent by it before its offer is set.
 */

/** @type {RTCConfiguration} */
const CONFIGURATION = { bundlePolicy: "max-bundle" };

export class Spare {
  /** @type {RTCPeerConnection | null} */
  #connection = null;

  make() {
    this.#connection ??= new RTCPeerConnection(CONFIGURATION);
  }

  /** It, or another one, for whoever takes it to close. @param {RTCIceServer[]} iceServers */
  take(iceServers) {
    const connection = this.#connection ?? new RTCPeerConnection(CONFIGURATION);
    this.#connection = null;
    connection.setConfiguration({ ...CONFIGURATION, iceServers });
    return connection;
  }

  /** A page with an open connection is not kept by the browser for the way back. */
  close() {
    this.#connection?.close();
    this.#connection = null;
  }
}
