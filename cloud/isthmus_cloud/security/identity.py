"""The seam: a caller comes to a door, and a guard says who it is or sends it away."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from isthmus import IsthmusError

Role = Literal["device", "operator"]

__all__ = ["ANYBODY", "Caller", "DeniedError", "Guard", "Identity", "OpenDoor", "Role"]


class DeniedError(IsthmusError):
    """A caller is not let in; the text is for the caller and says nothing of the inside.

    `why` is a word for logs and metrics ("token", "role", "rate", "streams", …);
    `retry_after_s` is None where coming back does not help. `identity` names who it is, for logs
    and metrics alone; "" where that is not known.
    """

    def __init__(
        self, text: str, why: str, retry_after_s: float | None = None, identity: str = ""
    ) -> None:
        super().__init__(text)
        self.why = why
        self.retry_after_s = retry_after_s
        self.identity = identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One call as it came: gRPC's peer, its metadata (lower-case keys), and the names in the
    certificate that TLS has verified, () without one.

    Metadata hold tokens: they are in no representation of it.
    """

    peer: str
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificate_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a caller is, and the most that it may have: streams at once, frames in flight over all of
    them, frames per second (None: no limit of its own).

    `credential` says with what it came, as the tokens file does; it is no secret.
    """

    name: str
    role: Role = "device"
    max_streams: int | None = None
    max_in_flight: int | None = None
    max_frames_per_s: float | None = None
    credential: str = ""


ANYBODY = Identity(name="", role="operator")


class Guard(Protocol):
    """Used on the event loop; neither blocks."""

    def admit(self, caller: Caller, role: Role) -> Identity:
        """Who the caller is; DeniedError if it may not come in, or not in this role.

        An operator may do what a device may.
        """

    def holds(self, identity: Identity) -> bool:
        """Whether what an identity was admitted by is still valid; to be asked now and then."""

    def stream(self, identity: Identity) -> None:
        """A stream of this identity is to be opened; DeniedError if it has too many."""

    def stream_ended(self, identity: Identity) -> None:
        """One that `stream` has let in is over."""

    def frame(self, identity: Identity) -> None:
        """A frame has come on one of its streams; DeniedError if it is one too many, or if what the
        identity came with is no longer valid (`why` "token": its stream has no business here)."""

    def frame_ended(self, identity: Identity) -> None:
        """One that `frame` has let in ended, one way or another."""


class OpenDoor:
    """A guard that lets everybody in: for a loopback, or where somebody else guards the way."""

    def admit(self, caller: Caller, role: Role) -> Identity:
        """See `Guard.admit`."""
        return ANYBODY

    def holds(self, identity: Identity) -> bool:
        """See `Guard.holds`."""
        return True

    def stream(self, identity: Identity) -> None:
        """See `Guard.stream`."""

    def stream_ended(self, identity: Identity) -> None:
        """See `Guard.stream_ended`."""

    def frame(self, identity: Identity) -> None:
        """See `Guard.frame`."""

    def frame_ended(self, identity: Identity) -> None:
        """See `Guard.frame_ended`."""
