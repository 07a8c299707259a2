"""Where the time of a frame went, of what device and cloud say of it."""

import time

from isthmus_edge.answer import Timings
from isthmus_edge.stream.frame import Frame
from isthmus_edge.stream.underway import Ending

__all__ = ["timings_of"]


def timings_of(frame: Frame, ending: Ending) -> Timings:
    """To be asked when the frame has just ended."""
    cloud = None if ending.result is None else ending.result.timing
    is_rescued = cloud is None and frame.cut is not None
    waited_ms = (time.monotonic() - frame.sent_at) * 1e3
    return Timings(
        queue_ms=(frame.begun_at - frame.accepted_at) * 1e3,
        head_ms=frame.head_ms,
        encode_ms=frame.encode_ms,
        network_ms=None if cloud is None else max(waited_ms - cloud.total_ms, 0.0),
        cloud_queue_ms=None if cloud is None else cloud.queue_ms,
        cloud_decode_ms=None if cloud is None else cloud.decode_ms,
        cloud_tail_ms=None if cloud is None else cloud.run_ms,
        rest_ms=ending.rest_ms if is_rescued else None,
    )
