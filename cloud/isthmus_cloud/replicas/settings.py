"""What can be asked of replicas, validated at the border."""

from dataclasses import dataclass
from math import isfinite

from isthmus import ConfigError
from isthmus.addresses import split_address
from isthmus_cloud.engines.choice import ONNX_RUNTIME, check_choice

RAY = "ray"
CALLS = 2  # that a replica has at once from one front end: one is computed, one comes or goes
AUTO_ADDRESS = "auto"
MAX_CALL_BYTES = 256 * 1024 * 1024  # of one call of a batch, either way
LARGE_CALL_BYTES = 1_250_000  # from here on the object store is faster (`isthmus bench scale`, d)

__all__ = ["AUTO_ADDRESS", "CALLS", "LARGE_CALL_BYTES", "MAX_CALL_BYTES", "RAY", "RaySettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySettings:
    """Where the replicas are, how many, and what each has.

    `address` is HOST:PORT of a cluster's head, or "auto" for the one that this machine is a node
    of; None starts Ray here, which ends with the service. From `least` to `most` replicas of each
    deployment are kept so that each has `target` calls under way: more after `up_s` of more, fewer
    after `down_s` of fewer. A replica takes `cpus` cores (and runs on so many threads, at least
    one) and `gpus` GPUs, of which it may have a share. `engine` runs the tails in it. It ends
    when its calls have, or `drain_s` after it was told to; one whose batch takes longer than
    `hang_s` is taken for hung, and replaced.

    `per_tail` gives every tail of a bundle a deployment of its own, in place of one for all.
    `models` > 0 puts all models on one deployment, whose replicas hold so many of them at a time,
    those that were asked for last.
    """

    address: str | None = None
    least: int = 1
    most: int = 1
    target: float = 1.0
    up_s: float = 3.0
    down_s: float = 120.0
    cpus: float = 1.0
    gpus: float = 0.0
    engine: str = ONNX_RUNTIME
    provider: str = "auto"
    drain_s: float = 20.0
    hang_s: float = 60.0
    per_tail: bool = False
    models: int = 0

    def __post_init__(self) -> None:
        if self.address not in {None, AUTO_ADDRESS}:
            split_address(self.address or "")
        if not 1 <= self.least <= self.most:
            raise ConfigError(
                f"replicas are {self.least} to {self.most}; give MIN:MAX with 1 or more, and no "
                "more at least than at most"
            )
        for name in ("target", "cpus", "hang_s"):
            self._check(name, getattr(self, name) > 0, "above 0")
        for name in ("up_s", "down_s", "gpus", "drain_s", "models"):
            self._check(name, getattr(self, name) >= 0, "0 or more")
        # Ray divides a GPU, but gives no more than one and a part of the next.
        self._check(
            "gpus", self.gpus <= 1 or self.gpus % 1 == 0, "a share of one, or a whole number"
        )
        if self.engine == RAY:
            raise ConfigError(f"engine of the replicas is {RAY!r}; name what runs the tails there")
        check_choice(self.engine, self.provider)
        if self.per_tail and self.models:
            raise ConfigError(
                "per_tail and models do not go together: replicas for a single tail hold no other "
                "model"
            )

    @property
    def threads(self) -> int:
        """Of each replica."""
        return max(1, int(self.cpus))

    def _check(self, name: str, is_right: bool, allowed: str) -> None:
        value = getattr(self, name)
        if not (is_right and isfinite(value)):
            raise ConfigError(f"{name} of replicas is {value:g}; allowed: {allowed}")
