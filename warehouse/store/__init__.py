"""Station 3: rows on disk."""
