"""Running the cells of a plan: schedule, search, resuming, engines."""
