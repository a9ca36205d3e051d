"""Adapters that start one peer each, so that a benchmark treats ours and theirs alike."""
