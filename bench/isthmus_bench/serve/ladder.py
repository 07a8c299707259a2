"""The greatest load that a service bears: a search with few trials."""

__all__ = ["Ladder"]

_CLOSE = 0.05  # what was borne and what was not are within this share: that is near enough
_STRIDE = 1.5


class Ladder:
    """Which load to try next, and the greatest that was borne so far.

    Begins at `begin` devices (at least 1), goes up in strides until one load is not borne, or down
    by halves until one is, then halves what lies between, until the two are close or `trials` are
    spent.
    """

    def __init__(self, begin: int, trials: int) -> None:
        self.devices: int = max(1, begin)  # to be tried next
        self.borne: int = 0
        self._not_borne: int | None = None
        self._trials = trials

    @property
    def is_done(self) -> bool:
        """Whether `borne` is what there is to be found."""
        return self._trials < 1 or self._is_close

    def tried(self, *, is_borne: bool) -> None:
        """What became of `devices`."""
        self._trials -= 1
        if is_borne:
            self.borne = self.devices
        else:
            self._not_borne = self.devices
        if self._not_borne is None:
            self.devices = max(self.borne + 1, round(self.borne * _STRIDE))
        else:
            self.devices = (self.borne + self._not_borne) // 2

    @property
    def _is_close(self) -> bool:
        if self._not_borne is None:
            return False
        return self._not_borne - self.borne <= max(1, _CLOSE * self._not_borne)
