"""Refresh: a run that goes on from a finished one when the log has grown."""
