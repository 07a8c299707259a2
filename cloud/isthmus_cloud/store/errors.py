"""What the store says no to. No text names a path of the machine below the store's root."""

from isthmus import IsthmusError

__all__ = ["StoreError", "StoreFullError", "UnknownVersionError"]


class StoreError(IsthmusError):
    """The state of the store does not allow it now; the text says what would."""


class UnknownVersionError(StoreError):
    """There is no such model or version in the store."""


class StoreFullError(StoreError):
    """There is no room on the store's disk; nothing of what was to be written is left there."""
