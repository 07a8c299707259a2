"""Generated messages and stubs of contract version 1 (`scripts/stubs` makes them)."""

PROTOCOL = 4

__all__ = ["PROTOCOL"]
