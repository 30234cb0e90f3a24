"""Station 3: rows become Parquet files in Delta tables."""
