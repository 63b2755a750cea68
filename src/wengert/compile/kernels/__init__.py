"""The kinds of kernels, and the loops that each kind becomes."""
