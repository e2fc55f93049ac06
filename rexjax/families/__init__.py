"""Families of models: what can be fitted on a log."""
