"""The seven stages: each takes a config and finished artifacts, and leaves one artifact."""
