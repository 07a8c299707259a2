"""Who is on a stream, and the guard that let it in."""

from dataclasses import dataclass, field

from isthmus_cloud.security import ANYBODY, Guard, Identity, OpenDoor

__all__ = ["Visitor"]


@dataclass(frozen=True, slots=True)
class Visitor:
    """A caller that was let in. `peer` is its address, for logs."""

    identity: Identity = ANYBODY
    peer: str = ""
    guard: Guard = field(default_factory=OpenDoor)
