"""Item text to vectors by a pretrained language model, then reduced to a small width."""
