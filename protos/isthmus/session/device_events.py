"""What a device's session tells its owner."""

from dataclasses import dataclass

from isthmus.v1 import split_pb2 as pb

__all__ = [
    "Answered",
    "DeviceEvent",
    "Draining",
    "Echoed",
    "Failed",
    "LoadTold",
    "Lost",
    "Missing",
    "Refused",
    "Told",
    "UpdateOffered",
    "Welcomed",
]


@dataclass(frozen=True, slots=True)
class Welcomed:
    """Frames may be sent; `resumed` if the service still held something of this session.

    `model` and `version` are what the service calls the bundle; empty if it has no names for it.
    """

    provider: str
    resumed: bool
    model: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """The result of a frame: the first and only one."""

    sequence: int
    result: pb.Result


@dataclass(frozen=True, slots=True)
class Failed:
    """The service refuses a frame, or failed on it. After a first KEY_FRAME_NEEDED it may be
    sent again. Above 0, `retry_after_s` is how long the service asks to be sent nothing."""

    sequence: int
    code: str
    message: str
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Missing:
    """The service does not hold this frame of the stream that broke.

    It may be sent again if `may_send_again`, else it is out of the session already.
    """

    sequence: int
    may_send_again: bool


@dataclass(frozen=True, slots=True)
class Echoed:
    """A heartbeat came back: times of the service's clock, in seconds, and how it was padded."""

    id: int
    received_s: float
    held_s: float
    padding_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LoadTold:
    """What a frame waits in the service's queue at present, and how many devices the service has.

    `streams` counts this device, also if it only looks; 0 is a service that does not tell.
    """

    queue_ms: float
    streams: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """The service has compared an audited frame with the unsplit model."""

    verdict: pb.Verdict


@dataclass(frozen=True, slots=True)
class UpdateOffered:
    """Another version of the model is the active one at the service; this stream goes on."""

    model: str
    version: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Draining:
    """The service will end: send nothing new, connect again when all is answered."""

    grace_ms: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream is over; close its connection. Another one may be tried.

    `code` is the service's, where it said one, and `retry_after_s` how long it asks to be left
    alone: another service may be asked meanwhile.
    """

    reason: str
    code: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """The service will never take this device; close the connection, and try no other."""

    code: str
    message: str


DeviceEvent = (
    Welcomed
    | Answered
    | Failed
    | Missing
    | Echoed
    | LoadTold
    | Told
    | UpdateOffered
    | Draining
    | Lost
    | Refused
)
