"""Who may ask: hosts, keys, rate limits and origins, and the headers of each answer."""
