"""Character-level models of text."""
