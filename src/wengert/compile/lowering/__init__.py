"""From a graph to kernels that are fused, laid out, placed in memory and cut into phases."""
