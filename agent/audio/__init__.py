"""The host's sound, from its device to Opus."""
