"""What is believed of a link, and who comes to believe it."""

from dataclasses import dataclass, replace
from math import exp
from typing import Protocol

__all__ = ["Estimator", "LinkEstimate"]


@dataclass(frozen=True, slots=True)
class LinkEstimate:
    """What is believed of a link that is up.

    `bandwidth_bps` is the median of the belief, whose spread is that of its logarithm: with 0.1 it
    is right within about 10 % in two cases of three. `rtt_ms` is what an idle link takes there and
    back, `rtt_spread_ms` its standard deviation. `age_s` is the time since something was learned
    about the bandwidth.
    """

    bandwidth_bps: float
    rtt_ms: float
    bandwidth_spread: float = 0.0
    rtt_spread_ms: float = 0.0
    age_s: float = 0.0

    def transfer_ms(self, size_bytes: float) -> float:
        """How long `size_bytes` occupy the link."""
        return size_bytes * 8e3 / self.bandwidth_bps

    def at(self, deviations: float) -> "LinkEstimate":
        """The link if it were so many standard deviations faster (below 0: slower) than believed.

        The round trip time moves the other way: a better link is better in both.
        """
        return replace(
            self,
            bandwidth_bps=self.bandwidth_bps * exp(deviations * self.bandwidth_spread),
            rtt_ms=max(self.rtt_ms - deviations * self.rtt_spread_ms, 0.0),
        )


class Estimator(Protocol):
    """Learns a link from its traffic. All times are seconds; `now` is the device's clock."""

    def reset(self) -> None:
        """A new connection begins: it may take another road."""
        ...

    def sent(self, size_bytes: int, now: float) -> int:
        """A message goes out; the returned number names it from here on."""
        ...

    def received(self, message: int, received_s: float, answered_after_s: float = 0.0) -> None:
        """The service had all of it at `received_s` by its own clock, and answered later."""
        ...

    def heartbeat(self, message: int, received_s: float, now: float, held_s: float = 0.0) -> None:
        """A tiny message came back; the service had held it for `held_s`."""
        ...

    def lost(self, message: int) -> None:
        """No answer is expected any more."""
        ...

    def withdrawn(self, message: int) -> None:
        """It was never on the link: what was to be sent was taken back."""
        ...

    def estimate(self, now: float) -> LinkEstimate | None:
        """The present belief, or None before the first measurement."""
        ...

    def backlog_s(self) -> float:
        """How long the link should need for all that was sent and not acknowledged."""
        ...

    def queue_s(self, now: float) -> float:
        """How long a message that is sent at `now` would wait until the link is free."""
        ...
