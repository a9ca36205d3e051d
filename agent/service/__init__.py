"""The Windows service: a supervisor in session 0 that keeps the agent running in the session at the screen."""
