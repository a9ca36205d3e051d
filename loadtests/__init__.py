"""Load tests of the signaling cluster, for Locust."""
