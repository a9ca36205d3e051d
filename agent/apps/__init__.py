"""Applications that a player may start: what the configuration says of them, and how they begin and end."""
