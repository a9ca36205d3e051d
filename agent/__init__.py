"""The host agent: captures a machine's desktop, streams it over WebRTC and injects the input that comes back."""
