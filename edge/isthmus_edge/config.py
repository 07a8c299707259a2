"""What an agent can be told, validated once at the border."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isthmus import ConfigError, is_loopback

Objective = Literal["latency", "throughput"]
Video = Literal["auto", "off"]

__all__ = ["AgentConfig", "Objective", "Video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Settings of one `Agent`.

    `cloud` is ``HOST:PORT``; None answers every frame on the device. `objective` is what the
    policy minimises: the latency of a frame, or the time between frames. `candidate` pins one
    entry of the plan (``ID``, or ``ID@RUNG``; rung 0 is the finest) and switches the policy off.
    `agreement_floor` replaces the plan's. With `rate_control` each frame takes the finest rung
    that link and deadline allow, otherwise the coarsest that meets the floor. `video` "auto" sends
    frames that resemble the one before as differences to it, "off" sends each for itself.
    `answer_top_k` > 0 asks the cloud for the k
    greatest values of each output row instead of all of them. `patience_ms` bounds how long a
    frame waits for the cloud before the device finishes it (None: three times the predicted
    latency, at least a second). A link that is silent for `silence_s`, beyond what the frames
    under way explain, is dead: they are finished here, and a new connection is tried. While
    `max_queued` frames wait for the device, `submit` waits too; what is on its way beyond the
    device is bounded by the service's window.
    """

    bundle: Path
    cloud: str | None = None
    tls_ca: Path | None = None
    insecure: bool = False
    require_cloud: bool = True
    objective: Objective = "latency"
    candidate: str | None = None
    agreement_floor: float | None = None
    rate_control: bool = True
    video: Video = "auto"
    answer_top_k: int = 0
    threads: int = 1
    max_queued: int = 2
    patience_ms: float | None = None
    connect_timeout_s: float = 5.0
    silence_s: float = 1.4

    def __post_init__(self) -> None:
        if self.objective not in {"latency", "throughput"}:
            raise ConfigError(f"objective {self.objective!r}: use 'latency' or 'throughput'")
        if self.video not in {"auto", "off"}:
            raise ConfigError(f"video {self.video!r}: use 'auto' or 'off'")
        if self.agreement_floor is not None and not 0 <= self.agreement_floor <= 1:
            raise ConfigError(
                f"agreement_floor must lie between 0 and 1, got {self.agreement_floor}"
            )
        for name in ("threads", "max_queued"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("silence_s", "connect_timeout_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.answer_top_k < 0:
            raise ConfigError(
                f"answer_top_k must be 0 (all values) or more, got {self.answer_top_k}"
            )
        if self.cloud is not None:
            self._check_address(self.cloud)

    def _check_address(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(
                f"cloud address {address!r}: use HOST:PORT, for instance 127.0.0.1:50051"
            )
        if self.tls_ca is None and not self.insecure and not is_loopback(host):
            raise ConfigError(
                f"cloud address {address!r} is not this machine: give the service's certificate "
                "(tls_ca, --tls-ca FILE), or allow plain text (insecure=True, --insecure)"
            )
