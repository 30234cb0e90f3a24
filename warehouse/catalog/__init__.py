"""Open the Parquet files of a warehouse as tables and views for queries."""
