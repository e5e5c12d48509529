"""What a model of a study has to predict: one file for each kind of items, their losses and their metrics."""
