"""What of the host's desktop is shared, and who may change it."""
