"""The greatest load that a service bears: a search with few trials."""

from collections.abc import Callable

__all__ = ["greatest"]

_CLOSE = 0.08  # what was borne and what was not are within this share: that is near enough
_STRIDE = 1.5


def greatest(bears: Callable[[int], bool], begin: int, trials: int) -> int:
    """The largest number of devices found that `bears` says yes to, 0 if none.

    Begins at `begin` (at least 1), goes up in strides until one is not borne, or down by halves
    until one is, then halves what lies between, until the two are close or `trials` are spent.
    """
    borne, not_borne = 0, None
    devices = max(1, begin)
    for _ in range(trials):
        if bears(devices):
            borne = devices
        else:
            not_borne = devices
        if not_borne is None:
            devices = max(borne + 1, round(borne * _STRIDE))
        elif not_borne - borne <= max(1, _CLOSE * not_borne):
            break
        else:
            devices = (borne + not_borne) // 2
    return borne
