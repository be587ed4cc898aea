"""Models, one per file; all of them export factors."""
