"""Which front ends use which applications: a small actor of the cluster remembers.

A front end renews its leases as long as it lives. An application that front ends have made and none
has a lease of is deleted by whoever is there; what others have deployed never is.
"""

import time
from collections.abc import Callable, Iterable

LEASE_S = 30.0
RENEW_S = 5.0

__all__ = ["LEASE_S", "RENEW_S", "LeaseBook"]


class LeaseBook:
    """Used by one caller at a time, as an actor is. One that is not new has forgotten what stood in
    it, and waits until every front end that lives has said it anew."""

    def __init__(
        self, clock_s: Callable[[], float] = time.monotonic, *, is_new: bool = True
    ) -> None:
        self._clock_s = clock_s
        self._knows_from_s = clock_s() + (0.0 if is_new else LEASE_S)
        self._until: dict[str, dict[str, float]] = {}  # by application, by front end

    def renew(self, front_end: str, applications: Iterable[str]) -> None:
        """It uses these."""
        until = self._clock_s() + LEASE_S
        for application in applications:
            self._until.setdefault(application, {})[front_end] = until

    def release(self, front_end: str, applications: Iterable[str]) -> None:
        """It uses these no more."""
        for application in applications:
            self._until.get(application, {}).pop(front_end, None)

    def unused(self, applications: Iterable[str]) -> list[str]:
        """Those of `applications` that nobody uses."""
        now = self._clock_s()
        for leases in self._until.values():
            for front_end in [each for each, until in leases.items() if until < now]:
                del leases[front_end]
        self._until = {name: leases for name, leases in self._until.items() if leases}
        if now < self._knows_from_s:
            return []
        return [name for name in applications if name not in self._until]
