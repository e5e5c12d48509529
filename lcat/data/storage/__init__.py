"""Features and edges in files that are mapped, not read."""
