"""The signaling cluster: rooms, peers and the relay between them."""

__version__ = "0.1.0"
