"""Station 4: Parquet becomes tables that can be asked."""
