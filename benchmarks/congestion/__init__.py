"""A link in simulated time, and what plays over it: deterministic, for benchmarks and tests alike."""
