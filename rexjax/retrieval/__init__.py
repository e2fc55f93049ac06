"""Cosine scores, top-k under jit, and the index that serving reads."""
