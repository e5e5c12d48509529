"""Graphs by name, from files, and generated."""
