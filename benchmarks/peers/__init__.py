"""Peers that only these benchmarks have; the others are in `wengert.bench.peers`."""
