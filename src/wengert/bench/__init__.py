"""Measuring training steps: workloads, peers in processes of their own, interleaved rounds."""
