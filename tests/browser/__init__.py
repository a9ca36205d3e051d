"""The whole system in real browsers: `tightbeam up`, a real desktop, and Debian's Chromium and Firefox."""
