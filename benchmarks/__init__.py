"""Benchmarks against peers: each runs interleaved with ours and prints ours, peer and ratio."""
