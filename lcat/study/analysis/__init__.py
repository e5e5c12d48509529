"""From frames of results to answers: comparisons, choices, regret."""
