"""The only rooms that know aiortc."""
