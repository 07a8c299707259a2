"""The error tree of the whole project; every message names what was wrong, where, and the way out.

    IsthmusError
    ├── ConfigError      a flag, key or argument that cannot be used
    ├── ModelError       the ONNX model cannot be read, run or cut
    ├── BundleError      a bundle is missing, damaged, of another version or of another model
    ├── PictureError     a picture cannot be read or decoded
    ├── WireError        a tensor or message does not match what was announced
    │   └── KeyFrameNeededError  a frame refers to symbols that are not held
    ├── LinkError        the cloud cannot be reached, or the link broke
    ├── PeerError        the other side reported an error of its own (carries a code)
    ├── SessionError     a call that the session's state does not allow: an error of ours
    ├── QueueFullError   the agent has no place for the frame (when_full="reject")
    ├── StaleFrameError  a newer frame took its place before it was begun ("drop-oldest")
    └── AgentClosedError the agent was closed before the frame was accepted

`str(error)` is one message for people. Commands print it and exit with status 1; they never show a
traceback for an `IsthmusError`.
"""

__all__ = [
    "AgentClosedError",
    "BundleError",
    "ConfigError",
    "IsthmusError",
    "KeyFrameNeededError",
    "LinkError",
    "ModelError",
    "PeerError",
    "PictureError",
    "QueueFullError",
    "SessionError",
    "StaleFrameError",
    "WireError",
]


class IsthmusError(Exception):
    """Anything that Isthmus raises on purpose."""


class ConfigError(IsthmusError):
    """A flag, key or argument cannot be used; the message names it and the allowed values."""


class ModelError(IsthmusError):
    """The ONNX model cannot be read, run or cut."""


class BundleError(IsthmusError):
    """A bundle is missing, damaged, of another format version, or belongs to another model."""


class PictureError(IsthmusError):
    """A picture cannot be read or decoded."""


class WireError(IsthmusError):
    """A tensor or message does not match what the manifest or its own header announced."""


class KeyFrameNeededError(WireError):
    """A frame is a difference to symbols that are not held: it has to be sent as a key frame."""


class LinkError(IsthmusError):
    """The cloud cannot be reached, or the link broke."""


class PeerError(IsthmusError):
    """The other side reported an error.

    `code` is the name of the protocol's error code, for instance ``"BAD_FRAME"``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SessionError(IsthmusError):
    """The state of the session does not allow this: the caller erred, not the other side."""


class QueueFullError(IsthmusError):
    """The agent has no place for one more frame, and was told to say so; nothing was accepted."""


class StaleFrameError(IsthmusError):
    """A newer frame took this one's place before it was begun, as was asked for."""


class AgentClosedError(IsthmusError):
    """The agent was closed, before the frame was accepted or before it had ended."""
