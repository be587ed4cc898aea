"""Connections: who is let in, how requests are bounded and parsed, and what is sent away unparsed."""
