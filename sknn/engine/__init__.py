"""The engine: networks, how they are lowered, trained, and asked for their outputs."""
