"""Logs in, packed histories out: sources, cleaning, splits, batches."""
