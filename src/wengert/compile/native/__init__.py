"""From kernels to machine code that runs, on one thread or on several."""
