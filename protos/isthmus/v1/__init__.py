"""Generated messages and stubs of contract version 1 (`scripts/stubs` makes them)."""

PROTOCOL = 2

__all__ = ["PROTOCOL"]
