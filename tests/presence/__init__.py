"""Tests of what the person at the host sees and can do."""
