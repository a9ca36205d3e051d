"""Input from the browser: decoded, guarded, injected."""
