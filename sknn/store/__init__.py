"""Machine code on disk: what the caches of all devices have in common."""
