"""Linen modules: hyper-parameters and ``__call__``, nothing else."""
