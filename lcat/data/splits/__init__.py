"""Training, validation and test nodes: random, from files, folds."""
