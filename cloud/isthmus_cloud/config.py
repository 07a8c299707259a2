"""What the service can be told, validated at the border."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from isthmus import ConfigError, is_loopback
from isthmus.addresses import split_address
from isthmus.session import MOST_NAMED
from isthmus.tracing import TraceSettings
from isthmus.web import WebConfig
from isthmus_cloud.engines.choice import ONNX_RUNTIME, check_choice
from isthmus_cloud.replicas.settings import RAY, RaySettings

MAX_BYTES_IN_FLIGHT = 256 * 1024 * 1024
MAX_STREAMS = 1024
MAX_CONNECTIONS = 4096
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
GRPC_MOST_BYTES = 2**31 - 1
MAX_S = 3600
WORKERS_ELSEWHERE = 64  # each waits for a batch; a replica is given two: enough for 32
WORKERS = 2  # one begins or ends a batch while the other computes

# From and to what each number may go. A device that has nothing to send beats about twice a second;
# gRPC counts connections, streams and bytes of a message in 32 bits.
MOST_THREADS = 1024
MOST_PLACES = 1_000_000
RANGES: Mapping[str, tuple[float, float]] = {
    "window": (1, MOST_NAMED),  # as many as one message may name
    "threads": (1, MOST_THREADS),
    "workers": (1, MOST_THREADS),
    "decoders": (1, MOST_THREADS),
    "max_batch": (1, MOST_PLACES),
    "max_waiting": (1, MOST_PLACES),
    "max_streams": (1, MOST_PLACES),
    "max_connections": (1, MOST_PLACES),
    "max_parked": (1, MOST_PLACES),
    "max_message_bytes": (1, GRPC_MOST_BYTES),
    "max_bytes_in_flight": (1, 2**53),
    "drain_grace_s": (0, MAX_S),
    "hello_s": (0.1, MAX_S),
    "idle_s": (1, MAX_S),
    "resume_s": (0, MAX_S),
    "linger_s": (0, MAX_S),
}

__all__ = [
    "GRPC_MOST_BYTES",
    "MAX_BYTES_IN_FLIGHT",
    "MAX_MESSAGE_BYTES",
    "MAX_STREAMS",
    "RANGES",
    "ServiceConfig",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """Everything `run_service` needs; ConfigError names the field and the way out.

    What is served is a `bundle`, or all models of a `store`, whose bundles must then be signed with
    one of `store_keys`, if there are any. `engine` and `provider` say what computes, see
    `engines.choice.open_engine`; with "ray" the replicas of `ray` do. `web` is where the dashboard
    and the metrics are, whose token is read again from `web_token_file` when that file changes;
    `traces` is where spans go.

    `listen` is HOST:PORT, port 0 takes a free one. Off the loopback, TLS is required, unless
    `insecure` says that the network is trusted. `window` is the number of frames that one stream
    may have in flight, `workers` that of batches that run at once, `threads` what one uses that
    runs alone on the processor; those that run at once share them. With `client_ca`, every caller
    must have a certificate that one of these authorities signed. `tokens` is the file of those who
    may come in (`isthmus tokens`); beyond the loopback it needs TLS, unless `tokens_in_clear` says
    that something else keeps them secret on the way. `max_bytes_in_flight` bounds the frames of all
    streams together: payloads, the tensors that they decode to, and answers until they are read,
    `max_message_bytes` a message (None: `MAX_MESSAGE_BYTES` with a store; with a bundle what it
    takes, see `faces.binding.bundle_message_bytes`), `max_waiting` the frames that no worker has
    begun. Frames that wait together are run together, up to `max_batch` and up
    to where a greater batch no longer pays; a batch that is not full is held back for up to
    `linger_s`; `joins` says whether frames that were cut at different depths may run together.
    `decoders` threads help to decode a batch. `max_streams` is the number of devices that are
    served at once; others are refused and may come back. `max_connections` bounds those that are
    open, whoever it is.

    A stream ends on which no Hello comes for `hello_s`, or nothing at all for `idle_s`. A session
    whose stream broke is kept for `resume_s` (0: not at all), and at most `max_parked` of them.
    """

    bundle: Path | None = None
    store: Path | None = None
    store_keys: tuple[Path, ...] = ()
    listen: str = "127.0.0.1:0"
    insecure: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    tokens: Path | None = None
    tokens_in_clear: bool = False
    window: int = 8
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    workers: int = field(default_factory=lambda: min(WORKERS, os.cpu_count() or 1))
    decoders: int = 1
    max_batch: int = 32
    linger_s: float = 0.0
    joins: bool = True
    max_waiting: int = 1024
    max_message_bytes: int | None = None
    max_bytes_in_flight: int = MAX_BYTES_IN_FLIGHT
    max_streams: int = MAX_STREAMS
    max_connections: int = MAX_CONNECTIONS
    drain_grace_s: float = 5.0
    hello_s: float = 10.0
    idle_s: float = 60.0
    resume_s: float = 10.0
    max_parked: int = 1024
    web: WebConfig | None = None
    web_token_file: Path | None = None
    traces: TraceSettings | None = None
    engine: str = ONNX_RUNTIME
    provider: str = "auto"
    ray: RaySettings | None = None

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ConfigError(f"{name} is {value}; allowed is {least} to {most}")
        if (self.bundle is None) == (self.store is None):
            raise ConfigError("give what is to be served: a bundle, or a store (--store DIR)")
        if self.store_keys and self.store is None:
            raise ConfigError("keys are for the bundles of a store; give one with --store DIR")
        if (self.engine == RAY) != (self.ray is not None):
            raise ConfigError("replicas (ray) go with the engine 'ray', and that with them")
        if self.ray is None:
            check_choice(self.engine, self.provider)
        self._check_doors()

    @property
    def batches_at_once(self) -> int:
        """What `workers` comes to: those that run elsewhere cost a thread that waits."""
        return self.workers if self.ray is None else WORKERS_ELSEWHERE

    @property
    def store_message_bytes(self) -> int:
        """The most that messages of a model of the store may take."""
        return MAX_MESSAGE_BYTES if self.max_message_bytes is None else self.max_message_bytes

    def _check_doors(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError(
                "TLS needs both: give the certificate and its key (--tls-cert, --tls-key), or "
                "neither"
            )
        if self.client_ca is not None and self.tls_certificate is None:
            raise ConfigError(
                "certificates of callers (--client-ca) are checked by TLS: give this service a "
                "certificate and key, too (--tls-cert, --tls-key)"
            )
        host, port = split_address(self.listen)
        if self.web is not None and port and split_address(self.web.listen) == (host, port):
            raise ConfigError(
                f"the page (--http) cannot be on {self.listen}, where devices come in (--listen); "
                "give it a port of its own"
            )
        if is_loopback(host) or self.tls_certificate:
            return
        if not self.insecure:
            raise ConfigError(
                f"listening on {self.listen} would take frames from the network in the clear; "
                "give a TLS certificate and key (--tls-cert, --tls-key), or allow it with insecure "
                "(--insecure) "
                "where the network is trusted"
            )
        if self.tokens is not None and not self.tokens_in_clear:
            raise ConfigError(
                f"tokens would come to {self.listen} in the clear, for all on the way to take; "
                "give a TLS certificate and key, or say with --tokens-in-clear that something else "
                "keeps them secret (a proxy that ends TLS on this machine, an encrypted network)"
            )
