"""Whether agreement has sunk below the floor, asked anew after every audited frame.

A bet against the floor: someone who holds that only a share q < floor of the frames agree wins
q / floor with each one that does and (1 - q) / (1 - floor) with each one that does not. As long as
the floor is met, nobody's stake grows in expectation, however often one looks: the chance that the
mean stake of several such players ever reaches `ODDS` is at most 1 / ODDS (J. Ville, "Étude
critique de la notion de collectif", 1939; the test for one q is Wald's, 1945). An interval of 95 %
that is looked at after every frame has no such bound: it lies below the floor sooner or later.

After `SPAN` frames all begin anew, or a long good time would have to be made up for first. So each
span has a false alarm with a chance of 1 % at most; docs/guard.md has what was measured.
"""

from math import exp, log

ODDS = 100.0
LEAST = 10  # frames before anything is declared
SPAN = 500
_SHARES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)  # of the floor: what the players hold
_HIGHEST_FLOOR = 0.995  # at 1 a single frame would be proof
_LARGEST_LOG = 100.0

__all__ = ["LEAST", "ODDS", "SPAN", "Drift"]


class Drift:
    """The test of one rung; it stays declared."""

    def __init__(self, floor: float) -> None:
        floor = min(floor, _HIGHEST_FLOOR)
        held = [share * floor for share in _SHARES] if floor > 0 else []
        self._agrees = [log(q / floor) for q in held]
        self._differs = [log((1 - q) / (1 - floor)) for q in held]
        self._stakes = [0.0] * len(held)  # logarithms
        self._frames = 0
        self.is_declared = False

    def add(self, *, agrees: bool) -> bool:
        """One frame was compared; whether this one made it a drift."""
        gains = self._agrees if agrees else self._differs
        self._stakes = [stake + gain for stake, gain in zip(self._stakes, gains, strict=True)]
        self._frames += 1
        if self.is_declared or self._frames < LEAST or self._mean_stake < ODDS:
            if self._frames == SPAN:
                self._frames, self._stakes = 0, [0.0] * len(self._stakes)
            return False
        self.is_declared = True
        return True

    @property
    def _mean_stake(self) -> float:
        if not self._stakes:
            return 0.0
        return sum(exp(min(stake, _LARGEST_LOG)) for stake in self._stakes) / len(self._stakes)
