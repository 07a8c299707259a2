"""Heads, tails and chains as files, and how long each takes as a whole."""
