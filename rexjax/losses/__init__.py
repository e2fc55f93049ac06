"""Losses: over samples and lists, and cross-entropy over a catalogue that lies on a mesh."""
