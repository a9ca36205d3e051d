"""Frames to access units: one file per encoder."""
