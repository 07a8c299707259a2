"""Which front ends use which applications: a small actor of the cluster remembers.

A front end renews its leases as long as it lives. An application that none has a lease of any more
is deleted by whoever is there; one that nobody here has made (`isthmus export ray`) never is.
"""

import time
from collections.abc import Callable, Iterable

LEASE_S = 30.0
RENEW_S = 5.0

__all__ = ["LEASE_S", "RENEW_S", "LeaseBook"]


class LeaseBook:
    """Used by one caller at a time, as an actor is."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._until: dict[str, dict[str, float]] = {}  # by application, by front end

    def renew(self, front_end: str, applications: Iterable[str]) -> None:
        """It uses these, which it or another front end has made."""
        until = self._clock_s() + LEASE_S
        for application in applications:
            self._until.setdefault(application, {})[front_end] = until

    def release(self, front_end: str, applications: Iterable[str]) -> list[str]:
        """It uses these no more; what is to be deleted now."""
        for application in applications:
            self._until.get(application, {}).pop(front_end, None)
        return self.unused()

    def unused(self) -> list[str]:
        """Applications that nobody uses any more; they are forgotten here."""
        now = self._clock_s()
        for leases in self._until.values():
            for front_end in [each for each, until in leases.items() if until < now]:
                del leases[front_end]
        left = [name for name, leases in self._until.items() if not leases]
        for name in left:
            del self._until[name]
        return left
