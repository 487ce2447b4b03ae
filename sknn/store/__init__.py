"""The disk cache of machine code: what the caches of all devices have in common."""
