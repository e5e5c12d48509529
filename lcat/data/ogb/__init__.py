"""Data sets of the Open Graph Benchmark."""
