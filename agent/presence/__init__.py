"""The person at the host: sees that somebody is connected, and can end it at once by a shortcut."""
