"""Campaigns that disturb what people rely on, and count what it costs: `make chaos`."""
