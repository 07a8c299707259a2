"""What Python's collector need not look at."""

import gc

__all__ = ["settle"]


def settle() -> None:
    """What this process holds now it holds to its end: leave it out of collections. One that looks
    at all of it stops every thread meanwhile, where Ray is imported for some 0.15 s."""
    gc.collect()
    gc.freeze()
