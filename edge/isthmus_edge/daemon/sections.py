"""What a daemon can be told: one type for each table of its TOML file."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from isthmus import ConfigError
from isthmus.web import WebConfig, read_token
from isthmus_edge.bundles import Source
from isthmus_edge.config import AgentConfig
from isthmus_edge.oip import EndpointConfig, Limits
from isthmus_edge.unix_sockets import UnixSocket

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Milliseconds = Annotated[float, Meta(gt=0, le=86_400_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Bytes = Annotated[int, Meta(ge=1, le=2**40)]
MessageBytes = Annotated[int, Meta(ge=1, le=2**31 - 1)]  # gRPC counts in an int32
LIMITS = Limits()
WhenDone = Literal["keep", "move", "delete"]
KEEP_IN = Path("/var/lib/isthmus/bundles")

__all__ = [
    "BundleSection",
    "CameraSection",
    "DaemonConfig",
    "DashboardSection",
    "DirectorySection",
    "EndpointSection",
    "LogSection",
    "OutputSection",
    "ServiceSection",
    "SourceSection",
    "StdinSection",
    "VideoSection",
]


class BundleSection(Struct, frozen=True, kw_only=True):
    """`[bundle]` with `from = "cloud"`: the bundle is fetched, in place of `[agent] bundle`.

    `model` is what the cloud's store calls it. Bundles are kept in `keep_in`, where the last good
    one and the one before it stay. With `keys` (PEM files of public keys) only those are taken that
    one of them has signed.
    """

    model: str
    keep_in: Path = KEEP_IN
    keys: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        """Where bundles of this model are."""
        return self.keep_in / self.model

    def source(self, agent: AgentConfig) -> Source:
        """The cloud of this agent. ConfigError if it has none, or for no name of a model."""
        if agent.cloud is None:
            raise ConfigError("from = 'cloud' needs its address; give [agent] cloud = 'HOST:PORT'")
        return Source(
            model=self.model,
            cloud=agent.cloud,
            credentials=agent.credentials,
            insecure=agent.insecure,
            keys=self.keys,
        )


class EndpointSection(Struct, frozen=True, kw_only=True):
    """`[endpoint]`: where programs on this device ask in the Open Inference Protocol.

    `unix` is the path of a socket, which this user may open, and with `socket_mode` "0660" its
    group too; `loopback` is a HOST:PORT of this machine, where port 0 takes a free one. The other
    keys are those of `Limits`: what is answered at once, how large a message may be, and when an
    idle stream ends.
    """

    unix: Path | None = None
    loopback: str | None = None
    socket_mode: Literal["0600", "0660"] = "0600"
    max_requests: Count = LIMITS.max_requests
    max_stream_requests: Count = LIMITS.max_stream_requests
    max_items: Count = LIMITS.max_items
    max_bytes: Bytes = LIMITS.max_bytes
    max_message_bytes: MessageBytes = LIMITS.max_message_bytes
    idle_s: Seconds = LIMITS.idle_s

    def __post_init__(self) -> None:
        self.limits()

    def limits(self) -> Limits:
        """As `EndpointConfig` takes them. ConfigError where they contradict each other."""
        return Limits(**{field.name: getattr(self, field.name) for field in fields(Limits)})

    @property
    def listen(self) -> tuple[str, ...]:
        """The addresses, as `EndpointConfig` takes them."""
        unix = () if self.unix is None else (f"unix:{self.unix}",)
        return unix if self.loopback is None else (*unix, self.loopback)

    def config(self) -> EndpointConfig | None:
        """For an `Endpoint`; None for no endpoint. ConfigError for an address that will not do."""
        if not self.listen:
            return None
        mode = int(self.socket_mode, 8)
        return EndpointConfig(listen=self.listen, socket_mode=mode, limits=self.limits())


class OutputSection(Struct, frozen=True, kw_only=True):
    """`[output]`: where answers to the sources go, as JSON lines.

    `top` classes of each answer, and with `values` "all" every output as nested lists too.
    """

    file: Path | None = None
    stdout: bool = False
    top: Count = 3
    values: Literal["top", "all"] = "top"


class LogSection(Struct, frozen=True, kw_only=True):
    """`[log]`: what goes to stderr. "auto" is text on a terminal and JSON elsewhere."""

    format: Literal["auto", "text", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class ServiceSection(Struct, frozen=True, kw_only=True):
    """`[service]`: the daemon itself.

    `control` is the socket that `isthmus edge status` asks; `drain_s` bounds how long accepted
    frames may take to their end when the daemon stops, or changes its agent.
    """

    control: Path | None = None
    drain_s: Seconds = 10.0

    def __post_init__(self) -> None:
        if self.control is not None:
            try:
                UnixSocket(self.control)
            except ConfigError as error:
                raise ConfigError(f"control: {error}") from error


class DashboardSection(Struct, frozen=True, kw_only=True):
    """`[dashboard]`: the live page, at `listen` (HOST:PORT); none without it.

    Beyond this machine it takes `tls_certificate`, `tls_key` and a `token_file`, unless `insecure`
    says that everybody on the network may look. `hosts` are further names that this device is
    called by in a browser's address.
    """

    listen: str | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    token_file: Path | None = None
    hosts: tuple[str, ...] = ()
    insecure: bool = False

    def config(self) -> WebConfig | None:
        """For a `WebServer`; reads the token. None for no page, ConfigError if it will not do."""
        if self.listen is None:
            return None
        return WebConfig(
            listen=self.listen,
            tls_certificate=self.tls_certificate,
            tls_key=self.tls_key,
            token=None if self.token_file is None else read_token(self.token_file),
            hosts=self.hosts,
            insecure=self.insecure,
        )


class DirectorySection(Struct, frozen=True, kw_only=True):
    """`[[source]]` of kind "directory": each picture file that is written there, once.

    `existing` says whether files that lie there at the start are answered (by default if they are
    moved or deleted afterwards). `when_done` "move" puts answered files into `done`; pictures that
    cannot be read go to `failed` where it is given. `polling` looks again and again, for network
    file systems that tell of nothing; a file then counts as whole once it has not changed for
    `settle_s`.
    """

    path: Path
    name: str = ""
    existing: bool | None = None
    when_done: WhenDone = "keep"
    done: Path | None = None
    failed: Path | None = None
    polling: bool = False
    settle_s: Seconds = 1.0
    deadline_ms: Milliseconds | None = None

    def __post_init__(self) -> None:
        if (self.when_done == "move") != (self.done is not None):
            raise ConfigError("when_done = 'move' and done = 'FOLDER' go together; give both")
        for name in ("done", "failed"):
            if getattr(self, name) == self.path:
                raise ConfigError(f"{name}: is the folder that is watched; choose another one")


class VideoSection(Struct, frozen=True, kw_only=True):
    """`[[source]]` of kind "video": the frames of a file, each `every`-th, none ever dropped."""

    path: Path
    name: str = ""
    every: Count = 1
    deadline_ms: Milliseconds | None = None


class CameraSection(Struct, frozen=True, kw_only=True):
    """`[[source]]` of kind "camera": the newest frame whenever there is a place for one.

    `device` is what FFmpeg opens: a V4L2 device, or an address. `format` names FFmpeg's demuxer
    (by default v4l2 below /dev), `options` goes to it as it is. A camera from which nothing came
    for `silence_s` counts as gone.
    """

    device: str
    name: str = ""
    format: str | None = None
    options: dict[str, str] = {}
    silence_s: Seconds = 10.0
    deadline_ms: Milliseconds | None = None


class StdinSection(Struct, frozen=True, kw_only=True):
    """`[[source]]` of kind "stdin": a line is a path or, from "{" on, JSON with `path` or `base64`.

    JSON may say `id` and `deadline_ms` too. With `lines` "base64" every line is a picture.
    """

    name: str = ""
    lines: Literal["auto", "base64"] = "auto"
    deadline_ms: Milliseconds | None = None


SourceSection = DirectorySection | VideoSection | CameraSection | StdinSection


class DaemonConfig(Struct, frozen=True, kw_only=True):
    """All of a file; `sources` have names, each another one.

    With `bundle`, `agent.bundle` is the one in use, and as the file is read the folder of all.
    """

    agent: AgentConfig
    endpoint: EndpointSection
    sources: dict[str, SourceSection]
    output: OutputSection
    log: LogSection
    service: ServiceSection
    dashboard: DashboardSection = DashboardSection()
    bundle: BundleSection | None = None

    def using(self, bundle: Path) -> "DaemonConfig":
        """The same with another bundle in use."""
        return structs.replace(self, agent=replace(self.agent, bundle=bundle))
