"""What the protocol answers instead of tensors: a status and one message for people."""

from typing import Literal

from isthmus.errors import (
    AgentClosedError,
    ConfigError,
    IsthmusError,
    LinkError,
    PictureError,
    QueueFullError,
    StaleFrameError,
    WireError,
)

Status = Literal[
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
    "INTERNAL",
]

__all__ = ["RefusalError", "Status", "refusal_of"]

_STATUS: tuple[tuple[type[IsthmusError], Status], ...] = (
    (WireError, "INVALID_ARGUMENT"),
    (PictureError, "INVALID_ARGUMENT"),
    (ConfigError, "INVALID_ARGUMENT"),
    (QueueFullError, "UNAVAILABLE"),
    (StaleFrameError, "UNAVAILABLE"),
    (AgentClosedError, "UNAVAILABLE"),
    (LinkError, "UNAVAILABLE"),
)


class RefusalError(IsthmusError):
    """A request that is not answered with tensors; `status` is the name of the gRPC status."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status: Status = status


def refusal_of(error: IsthmusError) -> RefusalError:
    """How an error of the house is told to a client."""
    if isinstance(error, RefusalError):
        return error
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return RefusalError(status, str(error))
    return RefusalError("INTERNAL", str(error))
