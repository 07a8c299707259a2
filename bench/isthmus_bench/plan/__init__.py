"""`isthmus bench plan`: plans against what really happens, and against other planners."""

__all__: list[str] = []
