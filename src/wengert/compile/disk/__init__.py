"""Machine code kept on disk, and the key by which it is found again."""
