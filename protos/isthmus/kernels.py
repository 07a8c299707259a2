"""What ONNX Runtime's own profiler says of each kernel."""

import tempfile
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from isthmus.errors import ModelError
from isthmus.profiles import KernelTime

__all__ = ["kernels_of"]

_PERCENTILE = 25  # of a kernel's times: means were 30 % off on a busy machine
_SUFFIX = "_kernel_time"


class _Event(msgspec.Struct):
    """What is read of one event; `ts` and `dur` in microseconds."""

    name: str
    cat: str
    ts: int = 0
    dur: int = 0
    args: dict[str, object] = {}


def kernels_of(profile: bytes, where: str) -> tuple[KernelTime, ...]:
    """The 25th percentile in ms of each kernel over all runs in a profile, in order of running.

    `profile` is the JSON that the runtime wrote, `where` names the network in errors. What ran
    inside another kernel is part of that one's time. Raises ModelError if it cannot be read: the
    runtime says nothing when it runs out of room, which for profiles is the temporary folder's.
    """
    try:
        events = msgspec.json.decode(profile, type=list[_Event])
    except msgspec.DecodeError as error:
        raise ModelError(
            f"{where}: the runtime's own profile is not whole ({error}); make room in the "
            f"temporary folder {tempfile.gettempdir()}, or name another in TMPDIR"
        ) from error
    times: dict[tuple[str, str, int], list[int]] = {}
    for event in _outermost(event for event in events if _is_kernel(event)):
        index = event.args.get("node_index")
        place = int(index) if isinstance(index, int | str) and str(index).isdigit() else -1
        key = (event.name.removesuffix(_SUFFIX), str(event.args.get("op_name")), place)
        times.setdefault(key, []).append(event.dur)
    return tuple(
        KernelTime(name=name, op=op, index=index, ms=float(np.percentile(taken, _PERCENTILE)) / 1e3)
        for (name, op, index), taken in times.items()
    )


def _is_kernel(event: _Event) -> bool:
    return event.cat == "Node" and event.name.endswith(_SUFFIX)


def _outermost(events: Iterable[_Event]) -> Iterator[_Event]:
    """Without what ran inside another kernel: the body of an If or a Loop is part of its time."""
    end = -1
    for event in sorted(events, key=lambda event: (event.ts, -event.dur)):
        if event.ts + event.dur > end or event.ts >= end:
            end = max(end, event.ts + event.dur)
            yield event
