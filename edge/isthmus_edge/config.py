"""What an agent can be told, validated once at the border."""

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal, get_args

from isthmus import ConfigError, is_loopback
from isthmus.tracing import trace_settings
from isthmus_edge.runtimes import RuntimeChoice
from isthmus_edge.stream.addresses import Target, targets_of
from isthmus_edge.stream.credentials import Credentials

Objective = Literal["latency", "throughput"]
Video = Literal["auto", "off"]
WhenFull = Literal["wait", "reject", "drop-oldest"]
Power = Literal["full", "saver"]

_CHOICES = {
    "objective": get_args(Objective),
    "video": get_args(Video),
    "when_full": get_args(WhenFull),
    "power": get_args(Power),
    "runtime": get_args(RuntimeChoice),
}

SECRET = frozenset({"token"})  # settings whose values no message repeats

__all__ = ["SECRET", "AgentConfig", "Objective", "Power", "Video", "WhenFull", "finite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Settings of one `Agent`.

    `cloud` is ``HOST:PORT`` or ``dns:NAME:PORT``, several of them as a tuple or with commas; None
    answers every frame on the device. Every address that a name has counts as one of several: the
    device takes one by lot, and goes on to the next when that one ends, drains or refuses. With
    `balance` it looks at another one now and then, and moves where that is clearly less loaded;
    without, it takes the first of those in `cloud` that answers, in their order, and stays there.
    Beyond this machine the cloud's certificate is needed (`tls_ca`), or the word that plain text is
    all right (`insecure`). `token`, or the file that holds it, goes with every connection, as do
    `tls_certificate` and `tls_key`, where the service asks for a certificate of the device; all
    these files are read anew for each connection. `objective` is what the
    policy minimises: the latency of a frame, or the time between frames. `candidate` pins one
    entry of the plan (``ID``, or ``ID@RUNG``; rung 0 is the finest) and switches the policy off.
    `agreement_floor` replaces the plan's. With `rate_control` each frame takes the finest rung
    that link and deadline allow, otherwise the coarsest that meets the floor. `video` "auto" sends
    frames that resemble the one before as differences to it, "off" sends each for itself.
    `answer_top_k` > 0 asks the cloud for the k
    greatest values of each output row instead of all of them. `patience_ms` bounds how long a
    frame waits for the cloud before the device finishes it (None: until the answer is clearly late
    by what is believed of link and cloud); a deadline shortens that. A link that is silent for
    `silence_s`, and for as long as the largest answer under way may take, is dead: what is under
    way is finished here, and a new connection is tried.

    `max_queued` frames may wait for the device. When they do, `when_full` says what `submit` does:
    "wait" until one has begun (a batch: nothing is ever dropped), "reject" the new one with
    QueueFullError, or "drop-oldest" (a camera: the stalest ends with StaleFrameError). Frames under
    way beyond the device are bounded by link, service and `max_held_bytes` of tensors kept here.
    `runtime` "auto" runs each head on the runtime that was fastest when it was measured, of those
    that are installed and that the plan did not find unfit; a name insists on one. Heads that do
    not fit into `max_memory_bytes`, which is what all of them may take together, are left out of
    the plan (None: no limit but the system's), and a frame that is pinned to one of them has it
    loaded in the place of others or ends with a ModelError; the one that answers without a cloud is
    loaded even beyond that, which is told as an event.
    `power` "saver" prefers what costs this device least energy among what is in time. With
    `heed_vitals` a hot or crowded device, or one whose battery runs low, shifts work to the cloud.
    `audit_share` of the frames are also sent as raw input, for the cloud to compare answers with
    the unsplit fp32 model. Without `require_cloud`, an agent that cannot reach the cloud within
    `connect_timeout_s`, or that it refuses, opens all the same, answers on the device, and goes on
    trying.

    `traces` makes spans of every frame (docs/observability.md): "application" by the OpenTelemetry
    tracer provider that this program has set up, or an OTLP collector's ``http://HOST:PORT``, to
    which spans of `trace_share` of the frames are sent; None makes none.
    """

    bundle: Path
    cloud: str | tuple[str, ...] | None = None
    tls_ca: Path | None = None
    insecure: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    balance: bool = True
    require_cloud: bool = False
    objective: Objective = "latency"
    candidate: str | None = None
    agreement_floor: float | None = None
    rate_control: bool = True
    video: Video = "auto"
    answer_top_k: int = 0
    threads: int = 1
    runtime: RuntimeChoice = "auto"
    max_memory_bytes: int | None = None
    max_queued: int = 2
    when_full: WhenFull = "wait"
    max_held_bytes: int = 64 * 1024 * 1024
    power: Power = "full"
    heed_vitals: bool = True
    audit_share: float = 0.0
    patience_ms: float | None = None
    connect_timeout_s: float = 2.0
    silence_s: float = 1.4
    traces: str | None = None
    trace_share: float = 1.0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                allowed = " or ".join(repr(choice) for choice in choices)
                raise ConfigError(f"{name} {getattr(self, name)!r}: use {allowed}")
        self._check_numbers()
        if self.traces is not None:
            trace_settings(self.traces, self.trace_share)
        self._check_ways()

    def _check_numbers(self) -> None:
        for name in ("agreement_floor", "audit_share", "trace_share"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, got {share}")
        for name in ("threads", "max_queued", "max_held_bytes", "max_memory_bytes"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ConfigError(f"{name} must be at least 1, got {count}")
        for name in ("silence_s", "connect_timeout_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.patience_ms is not None and finite("patience_ms", self.patience_ms) < 0:
            raise ConfigError(f"patience_ms must be 0 or more, or None, got {self.patience_ms}")
        if self.require_cloud and self.cloud is None:
            raise ConfigError("require_cloud needs a cloud; give its address (cloud=…, --cloud)")
        if self.answer_top_k < 0:
            raise ConfigError(
                f"answer_top_k must be 0 (all values) or more, got {self.answer_top_k}"
            )

    @property
    def targets(self) -> tuple[Target, ...]:
        """What `cloud` names, () without one."""
        return () if self.cloud is None else targets_of(self.cloud)

    @property
    def credentials(self) -> Credentials:
        """Whom the device trusts, and what it shows."""
        return Credentials(
            tls_ca=self.tls_ca,
            tls_certificate=self.tls_certificate,
            tls_key=self.tls_key,
            token=self.token,
            token_file=self.token_file,
        )

    def _check_ways(self) -> None:
        shown = self.credentials
        for target in self.targets:
            if self.tls_ca is None and not self.insecure and not is_loopback(target.host):
                text = f"cloud address {str(target)!r} is not this machine"
                if shown.has_token:
                    text += ", and the token could be read on the way"
                raise ConfigError(
                    f"{text}: give the service's certificate (tls_ca, --tls-ca FILE), or allow "
                    "plain text (insecure=True, --insecure)"
                )


def finite(name: str, value: float) -> float:
    """`value` as a float; ConfigError, with the name, where it is no finite number."""
    try:
        is_finite = isfinite(value)
    except (TypeError, OverflowError):
        is_finite = False
    if not is_finite:
        raise ConfigError(f"{name} must be a finite number, or None, got {value!r}")
    return float(value)
