"""Write rows as Parquet files of Delta tables."""
