"""What a study keeps: results in SQLite, a journal, a lock, and frames read from them."""
