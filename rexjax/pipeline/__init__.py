"""Stages in order, and what is built from them: sweep, budget, catalogue changes."""
