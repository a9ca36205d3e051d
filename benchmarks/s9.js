/**
 * Runs in the peer's own page before any of its scripts: clicks its button, if it has one, as soon as a hand could, and
 * tells when that was and when the first frame of its video was presented, in ms since the navigation began.
 */
window.__s9 = { clicked: null, presented: null };
window.__s9.watch = (video, button) => {
  const look = () => {
    const press = button && document.querySelector(button);
    const ready = document.readyState === "complete"; // its scripts listen
    if (ready && press && !press.hidden && !press.disabled && window.__s9.clicked === null) {
      window.__s9.clicked = performance.now();
      press.click();
    }
    const shown = document.querySelector(video);
    if (!shown?.requestVideoFrameCallback) return requestAnimationFrame(look);
    shown.requestVideoFrameCallback((now) => (window.__s9.presented = now));
    if (button && window.__s9.clicked === null) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
};
