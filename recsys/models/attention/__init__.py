"""Attention over histories: layers, heads for the next item and for stars that come, cross-fitting, and the model."""
