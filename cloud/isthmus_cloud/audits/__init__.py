"""Audits: a sample of answers beside those of the unsplit model."""
