"""Sharded embedding tables whose updates touch only the rows that a batch names."""
