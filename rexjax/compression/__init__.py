"""Pruning and quantisation of a trained student."""
