"""Paths that break in mid-session: the session survives, or ends with a reason."""
