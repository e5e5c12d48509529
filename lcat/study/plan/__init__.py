"""What a study runs: cells, splits, settings, plan files."""
