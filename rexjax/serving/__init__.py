"""What answers users: a folder exported from a workdir, and the server that reads it."""
