"""What the emulated link looks like: data, checked where it is made."""

import math
from dataclasses import dataclass
from typing import Self

from isthmus.errors import ConfigError

__all__ = ["LinkShape"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkShape:
    """What the link looks like now: payload bit/s per direction and the round trip time.

    Uplink is from the device to the cloud. `math.inf` is an unshaped direction; 0 is a black hole:
    connections stay open and silent until the rate rises again.

    `jitter_ms`: every chunk (about 2 ms of link time, or a message) travels longer by an even draw
    from 0 to half of this in each direction; a round trip thus takes `jitter_ms / 2` more in the
    mean. Order is kept, so in a stream the slowest chunk of the last moments holds up all others.
    `stalls_per_s`, `stall_ms`: what a lost packet does to a TCP stream. Nothing arrives for
    `stall_ms`, then at once everything that has come meanwhile; the link's rate is not lost.
    From the end of a stall to the next it is `1 / stalls_per_s` seconds in the mean, exponentially
    distributed, in each direction for itself and for all connections together.
    `seed` makes jitter and stalls the same in every run; both begin afresh with each new shape.

    Raises `ConfigError`.
    """

    uplink_bps: float = math.inf
    downlink_bps: float = math.inf
    rtt_ms: float = 0.0
    jitter_ms: float = 0.0
    stalls_per_s: float = 0.0
    stall_ms: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("uplink_bps", "downlink_bps"):
            bps = getattr(self, name)
            if math.isnan(bps) or bps < 0:
                raise ConfigError(
                    f"link shape: {name} is {bps}; give bit/s of 0 (nothing passes) or more,"
                    " or infinity for an unshaped direction"
                )
        for name, unit in (
            ("rtt_ms", "milliseconds"),
            ("jitter_ms", "milliseconds"),
            ("stalls_per_s", "stalls a second"),
            ("stall_ms", "milliseconds"),
        ):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigError(f"link shape: {name} is {value}; give {unit} of 0 or more")
        if self.stalls_per_s > 0 and self.stall_ms == 0:
            raise ConfigError(
                f"link shape: stalls_per_s is {self.stalls_per_s} and stall_ms is 0; give the"
                " length of a stall too"
            )
        if self.seed < 0:
            raise ConfigError(f"link shape: seed is {self.seed}; give a whole number of 0 or more")

    @classmethod
    def symmetric(cls, mbps: float, rtt_ms: float = 0.0) -> Self:
        """The same rate, in Mbit/s, in both directions."""
        return cls(uplink_bps=mbps * 1e6, downlink_bps=mbps * 1e6, rtt_ms=rtt_ms)
