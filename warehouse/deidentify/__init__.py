"""De-identified files and rows of a warehouse, by PS3.15 Annex E."""
