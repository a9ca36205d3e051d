/**
 * Runs in the peer's own page before any of its scripts: finds the video, reads the barcode clock from every
 * presented frame and keeps the frame's times. Only measures; it changes nothing in how the page plays.
 */
(() => {
  const CELL = 16, COLUMNS = 24, ROWS = 2, SYNC = [1, 0, 1, 1, 0, 0, 1, 0];
  const CLICK_INTERVAL_MS = 5000;
  const samples = [];
  const counters = { unreadable: 0, mismatched: 0, failed: 0 };
  const connections = [];
  let lastError = "";
  let video = null;
  let screenWidth = 0;
  let nextClick = 1000; // a page that connects by itself has done so by then

  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = new Proxy(Native, {
    construct(target, args) {
      const connection = Reflect.construct(target, args);
      connections.push(connection);
      return connection;
    },
  });

  function check(clock) {
    let crc = 0;
    for (let shift = 24; shift >= 0; shift -= 8) {
      crc ^= (clock >>> shift) & 255;
      for (let i = 0; i < 8; i++) crc = crc & 128 ? ((crc << 1) ^ 7) & 255 : crc << 1;
    }
    return crc;
  }

  /** Clock in ticks from a Y plane of the barcode region, or null. */
  function decode(luma, stride, cell) {
    const bits = [];
    for (let row = 0; row < ROWS; row++) {
      for (let column = 0; column < COLUMNS; column++) {
        const x = Math.round((column + 0.5) * cell), y = Math.round((row + 0.5) * cell);
        let sum = 0;
        for (let dy = -2; dy < 2; dy++)
          for (let dx = -2; dx < 2; dx++) sum += luma[(y + dy) * stride + x + dx];
        bits.push(sum / 16 > 126 ? 1 : 0);
      }
    }
    if (SYNC.some((bit, i) => bits[i] !== bit)) return null;
    let clock = 0, crc = 0;
    for (let i = 0; i < 32; i++) clock = ((clock << 1) | bits[8 + i]) >>> 0;
    for (let i = 0; i < 8; i++) crc = (crc << 1) | bits[40 + i];
    return crc === check(clock) ? clock : null;
  }

  /** The Y plane of a region of the frame that is shown now. */
  async function plane(frame, width, height) {
    const rect = { x: 0, y: 0, width, height };
    const buffer = new Uint8Array(frame.allocationSize({ rect }));
    const layout = await frame.copyTo(buffer, { rect });
    return { buffer, offset: layout[0].offset, stride: layout[0].stride };
  }

  function even(value) { return Math.ceil(value / 2) * 2; }

  async function sample(now, metadata) {
    let frame;
    try {
      frame = new VideoFrame(video);
    } catch (error) {
      counters.failed++;
      lastError = String(error);
      return;
    }
    try {
      const cell = (CELL * metadata.width) / screenWidth;
      const { buffer, offset, stride } =
        await plane(frame, even(cell * COLUMNS), even(cell * ROWS));
      const clock = decode(buffer.subarray(offset), stride, cell);
      // The compositor may have moved on to the next frame since it filled in the metadata.
      if (Math.abs(frame.timestamp - metadata.mediaTime * 1e6) > 2000) counters.mismatched++;
      else if (clock === null) counters.unreadable++;
      else samples.push([
        clock, now, metadata.presentationTime, metadata.receiveTime ?? null,
        metadata.processingDuration ?? null, metadata.presentedFrames, metadata.rtpTimestamp ?? null,
      ]);
    } catch (error) {
      counters.failed++;
      lastError = String(error);
    } finally {
      frame.close();
    }
  }

  function onFrame(now, metadata) {
    video.requestVideoFrameCallback(onFrame);
    void sample(now, metadata);
  }

  window.__m3 = {
    /** Start reading the playing video; false while there is none, then a button is clicked as a user would. */
    attach(selector, width, clickSelector) {
      const playing = [...document.querySelectorAll(selector)].filter((v) => v.videoWidth > 0);
      if (playing.length === 0) {
        const button = clickSelector && document.querySelector(clickSelector);
        if (button?.offsetParent && !button.disabled && performance.now() > nextClick) {
          nextClick = performance.now() + CLICK_INTERVAL_MS;
          button.click();
        }
        return false;
      }
      screenWidth = width;
      if (video !== playing[0]) {
        video = playing[0];
        video.requestVideoFrameCallback(onFrame);
      }
      return true;
    },
    /** Everything read since the last call. */
    take() {
      const result = { samples: samples.splice(0), ...counters, lastError,
        width: video.videoWidth, height: video.videoHeight };
      Object.assign(counters, { unreadable: 0, mismatched: 0, failed: 0 });
      return result;
    },
    /** The inbound stream's statistics, from whichever connection carries it. */
    async stats(kind = "video") {
      let best = null;
      for (const connection of connections) {
        if (connection.connectionState === "closed") continue;
        const report = await connection.getStats();
        for (const entry of report.values()) {
          if (entry.type !== "inbound-rtp" || entry.kind !== kind) continue;
          if (best && best.bytesReceived >= entry.bytesReceived) continue;
          best = { ...entry, codec: report.get(entry.codecId)?.mimeType,
            profile: report.get(entry.codecId)?.sdpFmtpLine };
        }
      }
      return best;
    },
    /** One whole decoded frame's Y plane in base64, with its clock. */
    async grab() {
      const frame = new VideoFrame(video);
      try {
        const width = frame.visibleRect.width, height = frame.visibleRect.height;
        const { buffer, offset, stride } = await plane(frame, width, height);
        const luma = new Uint8Array(width * height);
        for (let y = 0; y < height; y++)
          luma.set(buffer.subarray(offset + y * stride, offset + y * stride + width), y * width);
        let text = "";
        for (let i = 0; i < luma.length; i += 32768)
          text += String.fromCharCode(...luma.subarray(i, i + 32768));
        return { clock: decode(luma, width, (CELL * width) / screenWidth), width, height,
          format: frame.format, fullRange: frame.colorSpace.fullRange,
          matrix: frame.colorSpace.matrix, luma: btoa(text) };
      } finally {
        frame.close();
      }
    },
  };
})();
