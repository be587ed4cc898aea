"""The last fifth of a data set arrives in time: what it costs a recommender to learn of it late, or never."""
