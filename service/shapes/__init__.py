"""What an answer looks like: JSON, CSV, Arrow, Parquet. Values in, bytes out."""
