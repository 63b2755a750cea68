"""Transforms of graphs: reverse mode, forward mode, batching, recomputation, custom rules."""
