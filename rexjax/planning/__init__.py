"""What a config costs on TPUs that are not here: its own programs, compiled ahead of time for a named topology."""
