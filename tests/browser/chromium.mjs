// How the tests start Debian's Chromium, as root and without a screen.

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

export const CHROMIUM_FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
  // A page on the host's own machine reaches it by a loopback candidate, which mDNS names would hide.
  "--disable-features=WebRtcHideLocalIpsWithMdns",
];
