"""Processes on several hosts: where each one stands, whether they agree, and what happens when one is gone."""
