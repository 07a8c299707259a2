"""Profile and plan for people."""
