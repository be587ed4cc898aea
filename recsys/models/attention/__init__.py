"""Attention over histories: the layers, the loss of the next item, and the model."""
