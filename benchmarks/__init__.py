"""Benchmarks: every number is measured in a pinned process of its own, in interleaved rounds."""
