"""What the service tells about itself: happenings, and who listens to them."""

from isthmus_cloud.telemetry.happenings import (
    Activated,
    Audited,
    BatchRun,
    CallLost,
    FrameDone,
    Happening,
    LinkReported,
    Observer,
    Observers,
    Refused,
    Retired,
    StreamClosed,
    StreamOpened,
    Unloaded,
)

__all__ = [
    "Activated",
    "Audited",
    "BatchRun",
    "CallLost",
    "FrameDone",
    "Happening",
    "LinkReported",
    "Observer",
    "Observers",
    "Refused",
    "Retired",
    "StreamClosed",
    "StreamOpened",
    "Unloaded",
]
