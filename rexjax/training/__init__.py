"""State, step, loop and checkpoint, used by teacher and student alike."""
