/** Beside m3_probe.js, in our own page only: what the host told of its frames, the clicks, and what the overlay shows. */
(() => {
  const FRAMES = 3; // docs/protocol.md 6.3
  const told = [];
  const presses = [];

  const create = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (label, options) {
    const channel = create.call(this, label, options);
    if (label === "stats") {
      channel.addEventListener("message", ({ data }) => {
        const bytes = new Uint8Array(data);
        if (bytes[1] === FRAMES) told.push(btoa(String.fromCharCode(...bytes)));
      });
    }
    return channel;
  };
  addEventListener("pointerdown", (event) => presses.push(event.timeStamp), true);

  window.__legs = {
    /** Everything since the last call. */
    take: () => ({ told: told.splice(0), presses: presses.splice(0) }),
    /** The overlay's rows; it is opened by the first call. */
    overlay() {
      if (document.getElementById("stats").hidden) document.getElementById("tool-stats").click();
      const terms = [...document.querySelectorAll("#stats dt")];
      return Object.fromEntries(terms.map((term) => [term.textContent, term.nextElementSibling.textContent]));
    },
  };
})();
